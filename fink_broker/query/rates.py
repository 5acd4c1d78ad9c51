"""How fast objects change, and their colours, alert by alert."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fink_broker.surveys.lookups import Computed

RATES = {
    "v:rate": "change since the measurement before in this band, mag/day",
    "v:sigma(rate)": "its error",
    "v:g-r": "colour, of measurements in both bands within 0.3 days",
    "v:sigma(g-r)": "its error",
    "v:rate(g-r)": "change of the colour since the one before, mag/day",
    "v:sigma(rate(g-r))": "its error",
}
_RATE, _RATE_ERROR, *_COLOURS = RATES
_TOLERANCE = 0.3  # days between the two measurements of a colour

Floats = np.ndarray[Any, Any]


def rates(computed: Computed, objects: Sequence[Any], measured: Sequence[Floats]) -> dict[str, Floats]:
    """Rates and colours, by fink-object-api's `extract_rate_and_color`.

    Parameters
    ----------
    computed : Computed
        Which bands are the blue and the red one.
    objects : sequence
        Name of each alert's object.
    measured : sequence of array of float
        Time (days), band, magnitude and its error of each alert.

    Returns
    -------
    dict
        Names of `RATES` to a value for each alert; NaN where there is none.
    """
    time, band, magnitude, error = measured
    found = {name: np.full(len(time), np.nan) for name in RATES}
    _, number = np.unique([str(one) for one in objects], return_inverse=True) if len(objects) else (None, np.empty(0, int))
    order = np.lexsort((time, number))
    for one in np.split(order, np.flatnonzero(np.diff(number[order])) + 1) if len(order) else ():
        seen = one[np.isfinite(magnitude[one])]
        blue, red = (seen[band[seen] == value] for value in (computed.blue, computed.red))
        for some in (blue, red):
            found[_RATE][some[1:]], found[_RATE_ERROR][some[1:]] = _rate(time[some], magnitude[some], error[some])
        if len(blue) and len(red):
            for name, values in zip(_COLOURS, _colours(measured, blue, red, seen), strict=True):
                found[name][seen] = values
    return found


def _rate(time: Floats, value: Floats, error: Floats) -> tuple[Floats, Floats]:
    step = np.diff(time)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.diff(value) / step, np.hypot(error[1:], error[:-1]) / step


def _colours(measured: Sequence[Floats], blue: Floats, red: Floats, seen: Floats) -> tuple[Floats, ...]:
    """Colour, its error, its rate and that one's error, for all that was seen near a pair of measurements."""
    time, _, magnitude, error = measured
    partner, there = _nearest(time[red], time[blue])
    blue, red = blue[there], red[partner[there]]
    colour, sigma = magnitude[blue] - magnitude[red], np.hypot(error[blue], error[red])
    rate, rate_error = np.full((2, len(blue)), np.nan)
    if len(blue) > 1:
        rate[1:], rate_error[1:] = _rate(time[blue], colour, sigma)
    pair, near = _nearest(time[blue], time[seen])
    return tuple(np.where(near, values[pair] if len(blue) else np.nan, np.nan) for values in (colour, sigma, rate, rate_error))


def _nearest(times: Floats, wanted: Floats) -> tuple[Floats, Floats]:
    """For each time the place of the nearest of others, which are in order, of two as near the earlier; and whether it is near enough."""
    if not len(times):
        return np.zeros(len(wanted), int), np.zeros(len(wanted), bool)
    after = np.searchsorted(times, wanted, side="right")
    before, after = np.maximum(after - 1, 0), np.minimum(after, len(times) - 1)
    place = np.where(np.abs(wanted - times[before]) <= np.abs(times[after] - wanted), before, after)
    return place, np.abs(times[place] - wanted) <= _TOLERANCE
