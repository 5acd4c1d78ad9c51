"""What science modules cost, from their workers' notes."""

from fink_broker.monitoring.costs import Costs, total


def test_total():
    assert total([]) == Costs()
    notes = ['{"modules":{"a":[10.0,100,0],"b":[1.5,100,2]},"memory_mb":210}', '{"modules":{"a":[20.0,20,0]},"memory_mb":180}']
    assert total(notes) == Costs({"a": 0.25, "b": 0.015}, 210)
