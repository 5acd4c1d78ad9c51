"""Science modules: the registry and the broker's own."""
