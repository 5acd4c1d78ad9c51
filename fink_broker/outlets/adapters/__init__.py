"""One module a kind of outlet: pure functions from alerts to what is sent."""
