"""Times as people give them."""

import pytest

from fink_broker import surveys
from fink_broker.errors import UsageError
from fink_broker.query.times import days, mjd_zero, night


@pytest.mark.parametrize(
    "text", ["2026-03-22T12:00", "2026-03-22 12:00:00", "2026-03-22T13:00+01:00", "61121.5", "2461122.0", "2026-03-22T12:00Z"]
)
def test_one_moment_in_many_ways(text):
    assert days(text, 0) == pytest.approx(61121.5, abs=1e-9)
    assert days(text, mjd_zero(surveys.get("ztf"))) == pytest.approx(2461122.0, abs=1e-9)
    assert night(days(text, 2400000.5), 2400000.5) == "20260322"


def test_dates_begin_at_midnight():
    assert days("2026-03-22", 0) == days("20260322", 0) == 61121


@pytest.mark.parametrize("text", ["yesterday", "nan", "inf", "-inf", "1e20"])
def test_what_is_no_time_says_how_to_give_one(text):
    with pytest.raises(UsageError, match=f"'{text}' is no time: give 2026-03-22"):
        days(text, 0)


def test_other_nights():
    assert night(61121.0, 0, -1) == "20260321"
    assert night(61120.999, 0) == "20260321"
