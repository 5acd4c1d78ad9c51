"""Times as people give them."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

from fink_broker.errors import UsageError
from fink_broker.surveys import Survey

_UNIX_MJD = 40587  # 1970-01-01
_LAST_JD = 5_373_484  # the year 9999; not a number is not below it either
_FIRST_JD = 2_400_000  # what is above is a Julian date, what is below a modified one


def mjd_zero(survey: Survey) -> float:
    """What is to be taken from a survey's days for a MJD (UTC)."""
    return 0.0 if survey.facts is None else survey.facts.mjd_zero


def days(text: str, zero: float) -> float:
    """A time in a survey's days.

    Parameters
    ----------
    text : str
        A date (``2026-03-22``, ``20260322``), a date and time in UTC (``2026-03-22T04:30``), a MJD or a JD.
    zero : float
        What is to be taken from the survey's days for a MJD (UTC), see `mjd_zero`.

    Raises
    ------
    UsageError
        It is none of these.
    """
    with contextlib.suppress(ValueError):
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (moment - datetime.fromtimestamp(0, UTC)) / timedelta(days=1) + _UNIX_MJD + zero
    try:
        number = float(text)
        if not abs(number) < _LAST_JD:
            raise ValueError
    except ValueError as error:
        raise UsageError(f"'{text}' is no time: give 2026-03-22, 2026-03-22T04:30 (UTC), a MJD or a JD") from error
    return (number - 2_400_000.5 if number > _FIRST_JD else number) + zero


def night(time: float, zero: float, shift: int = 0) -> str:
    """The date (UTC) of a time in a survey's days, so many days later, as ``YYYYMMDD``."""
    return f"{datetime.fromtimestamp(0, UTC) + timedelta(days=time - zero - _UNIX_MJD + shift):%Y%m%d}"
