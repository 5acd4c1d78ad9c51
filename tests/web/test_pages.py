"""What pages know of a survey."""

from __future__ import annotations

import pytest

from fink_broker.surveys import get
from fink_broker.web.pages import calls, columns


@pytest.mark.parametrize(
    ("survey", "expected"),
    [
        ("ztf", {"band": "i:fid", "brightness": "i:magpsf", "error": "i:sigmapsf", "limit": "i:diffmaglim", "is_flux": False}),
        ("rubin", {"band": "r:band", "brightness": "r:psfFlux", "error": "r:psfFluxErr", "limit": "", "is_flux": True}),
    ],
)
def test_columns_of_a_light_curve(survey: str, expected: dict[str, object]) -> None:
    found = columns(get(survey))
    assert expected.items() <= found.items()
    kinds = {column for table in get(survey).tables for column in table.families}
    assert {found[name].partition(":")[0] for name in ("object", "alert", "time", "band", "brightness", "error")} <= kinds


def test_a_call_is_described_once_for_both_methods() -> None:
    number = {"anyOf": [{"type": "number", "minimum": 0}, {"type": "null"}]}
    parameters = [
        {"name": "n", "schema": number},
        {"name": "kind", "required": True, "schema": {"enum": ["a", "b"], "description": "which"}},
    ]
    described = {
        "paths": {
            "/x": {"get": {"description": "Asks.", "parameters": parameters}, "post": {}},
            "/y": {"delete": {}},
            "/api/v1/ztf/x": {"get": {}},
        }
    }
    [call] = calls(described, "ztf")
    assert (call["path"], call["methods"], call["description"]) == ("/x", "GET POST", "Asks.")
    assert call["parameters"] == [
        {"name": "n", "kind": "number", "description": "", "required": False, "default": "-"},
        {"name": "kind", "kind": "a, b", "description": "which", "required": True, "default": ""},
    ]
