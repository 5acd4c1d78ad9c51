"""What `fink status` says of notices."""

from fink_broker.commands.status_text import _notices


def test_notices_that_cannot_be_read_are_named():
    found = {"read": 3, "unusable": {"a test": 2}, "faults": {"x.json": "no XML"}}
    assert _notices(found) == ["3 notices, 2 a test, 1 that cannot be read", "the notice x.json cannot be read: no XML"]
    assert _notices({"read": 0, "unusable": {}, "faults": {}}) == _notices(None) == []
