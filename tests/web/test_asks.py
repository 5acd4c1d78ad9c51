"""Parameters of the API, as users' scripts give them."""

from __future__ import annotations

import pytest
from astropy.coordinates import SkyCoord
from pydantic import ValidationError

from fink_broker.web import asks


@pytest.mark.parametrize(("ra", "dec"), [("10:26:24.3", "-05:30:00"), ("10h26m24.3s", "-00d30m00s"), ("0:0:0", "+89:59:59.9")])
def test_positions_in_hours_and_degrees(ra: str, dec: str) -> None:
    ask = asks.Cone.model_validate({"ra": ra, "dec": dec, "radius": "5"})
    there = SkyCoord(ra, dec, unit=("hourangle", "deg"))
    assert ask.ra == pytest.approx(there.ra.deg, abs=1e-9)
    assert ask.dec == pytest.approx(there.dec.deg, abs=1e-9)


def test_positions_in_degrees() -> None:
    ask = asks.Cone.model_validate({"ra": "193.822", "dec": -2.89732, "radius": 5.0})
    assert (ask.ra, ask.dec) == (193.822, -2.89732)


def test_names_are_divided_by_commas() -> None:
    ask = asks.Objects.model_validate({"objectId": "a, b", "columns": "i:jd,d:roid", "output-format": "csv"})
    assert ask.objects == ["a", "b"]
    assert ask.names == ["i:jd", "d:roid"]
    assert asks.Objects.model_validate({"objectId": "a"}).names is None


def test_forms_that_are_not_there_are_refused() -> None:
    with pytest.raises(ValidationError, match="output-format"):
        asks.Objects.model_validate({"objectId": "a", "output-format": "xml"})
