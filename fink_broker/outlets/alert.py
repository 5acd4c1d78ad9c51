"""An alert as it is read from a topic, with what is told of it elsewhere."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import fastavro

from fink_broker.surveys.facts import Facts

_MJD_0 = datetime(1858, 11, 17, tzinfo=UTC)
# AB magnitude of a flux of 1 microjansky, in which magnitudes become fluxes.
_MICROJANSKY = 23.9
# Of the logarithm in a magnitude.
_POGSON = 2.5 / math.log(10)


@dataclass(frozen=True)
class Alert:
    """An alert; what is not known is None.

    Parameters
    ----------
    topic, id : str
        Where it was read; its header ``fink-id``.
    published : datetime
        When Kafka took it, UTC: the same however often it is read.
    object : str
        Name of the object.
    ra, dec : float
        J2000, degrees.
    mjd : float
        Time of the exposure (UTC).
    band, passband : str
        ``g``; ``ztfg``, as sncosmo names it.
    mag, mag_error : float
        AB, of the difference image, without its sign.
    flux, flux_error, zero_point : float
        The same with its sign; AB magnitude of a flux of 1.
    link : str
        Page of the object.
    record : mapping
        The whole alert; empty where many are held for one message.
    """

    topic: str
    id: str
    published: datetime
    object: str | None = None
    ra: float | None = None
    dec: float | None = None
    mjd: float | None = None
    band: str | None = None
    passband: str | None = None
    mag: float | None = None
    mag_error: float | None = None
    flux: float | None = None
    flux_error: float | None = None
    zero_point: float = _MICROJANSKY
    link: str = ""
    record: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """Of the object, else of the alert."""
        return self.object or self.id

    @property
    def time(self) -> datetime | None:
        """Of the exposure, UTC."""
        return None if self.mjd is None else _MJD_0 + timedelta(days=self.mjd)

    @property
    def texts(self) -> dict[str, str]:
        """The facts as people read them, by name: id, name, topic, time, ra, dec, band, brightness, link."""
        brightness = "?" if self.mag is None else f"{self.mag:.2f}"
        brightness += "" if self.mag_error is None else f" ± {self.mag_error:.2f}"
        return {
            "id": self.id,
            "name": self.name,
            "topic": self.topic,
            "time": "?" if self.time is None else f"{self.time:%Y-%m-%d %H:%M:%S} UTC",
            "ra": "?" if self.ra is None else f"{self.ra:.5f}",
            "dec": "?" if self.dec is None else f"{self.dec:+.5f}",
            "band": self.band or "?",
            "brightness": brightness + (" (fainter than the reference)" if (self.flux or 0) < 0 else ""),
            "link": self.link,
        }

    def brief(self) -> Alert:
        """Without the record, to be held in memory."""
        return replace(self, record={})


def decode(key: bytes, value: bytes) -> dict[str, Any]:
    """A message as fink-client reads it: the key is the schema, the value the record.

    Raises
    ------
    ValueError
        It cannot be read.
    """
    try:
        record: dict[str, Any] = fastavro.schemaless_reader(io.BytesIO(value), _schema(key), None)  # type: ignore[assignment]
        return record
    # fastavro says in many ways that bytes or a schema are none.
    except Exception as error:
        raise ValueError(f"{type(error).__name__}: {error}"[:200]) from error


@lru_cache(maxsize=64)
def _schema(key: bytes) -> Any:
    return fastavro.parse_schema(json.loads(key))


def alert(record: Mapping[str, Any], facts: Facts, topic: str, identity: str, published: datetime) -> Alert:
    """What is told of a decoded message."""
    name = next((str(value) for value in _values(record, facts.object) if value), None)
    mjd, band = _number(record, facts.time), _value(record, facts.band)
    band = None if band is None else facts.bands.get(band, str(band))
    value, error = _number(record, facts.brightness), _number(record, facts.error)
    found = Alert(
        topic,
        identity,
        published,
        name,
        _number(record, facts.ra),
        _number(record, facts.dec),
        None if mjd is None else mjd - facts.mjd_zero,
        band,
        None if band is None else facts.prefix + band,
        link=facts.page.format(object=name) if name else "",
        record=record,
    )
    if value is None:
        return found
    if facts.zero_point is None:
        flux = 10 ** (0.4 * (_MICROJANSKY - value)) * (-1 if _value(record, facts.sign) in facts.negative else 1)
        flux_error = None if error is None else abs(flux) * error / _POGSON
        return replace(found, mag=value, mag_error=error, flux=flux, flux_error=flux_error)
    found = replace(found, flux=value, flux_error=error, zero_point=facts.zero_point)
    if value == 0:
        return found
    mag = facts.zero_point - 2.5 * math.log10(abs(value))
    return replace(found, mag=mag, mag_error=None if error is None else _POGSON * error / abs(value))


def _values(record: Mapping[str, Any], names: tuple[str, ...]) -> list[Any]:
    """Those of the fields that are there."""
    found = []
    for name in names:
        value: Any = record
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None:
            found.append(value)
    return found


def _value(record: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next(iter(_values(record, names)), None)


def _number(record: Mapping[str, Any], names: tuple[str, ...]) -> float | None:
    return next((float(value) for value in _values(record, names) if math.isfinite(value)), None)
