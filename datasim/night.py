"""A simulated night: real alerts as templates, with the ids, times and scatter of new ones.

Pure: the same arguments give the same alerts. What is kept and what is changed: docs/simulator.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

from datasim import forced, naming, scatter
from fink_broker.errors import ConfigError
from fink_broker.surveys.ztf import SURVEY

Record = dict[str, Any]

# Palomar observes within these hours UTC all year; an exposure of 30 s and its readout take 40 s.
FIRST_HOUR, HOURS = 2.0, 11.0
EXPOSURE_S, SHORTEST_S = 40.0, 1.0
# So many fields are observed in g, and then again in r.
FIELDS = 16
FIRST_FIELD, NUMBER_OF_FIELDS = 245, 600

# Measurements that scatter by 2 % between alerts; the cuts' columns (rb, nbad) are left as they are.
SCATTERED = ("sigmapsf", "sigmagap", "chipsf", "fwhm", "sky", "scorr", "dsnrms", "ssnrms", "magzpscirms", "clrrms")
# Copies of one template lie this many degrees apart in right ascension (the golden angle fills the circle evenly).
APART = 137.50776405


@dataclass(frozen=True)
class Exposure:
    """One image of the camera: all alerts of a burst come from it.

    Parameters
    ----------
    jd : float
        Time, Julian date (UTC) in days.
    field : int
        Number of the field within the night, from 0.
    visit : int
        0 for the first (g), 1 for the second (r) image of the field.
    first_jd : float
        Time of the field's first image.
    """

    jd: float
    field: int
    visit: int
    first_jd: float

    @property
    def fid(self) -> int:
        """Filter: 1 is g, 2 is r."""
        return self.visit + 1


@dataclass(frozen=True)
class _Object:
    """A thing in the sky: a template under a new name, elsewhere.

    Parameters
    ----------
    place : str
        Seed of what stays the same from alert to alert.
    night : str
        Seed of what changes.
    """

    place: str
    night: str
    slot: int
    name: str
    template: Record
    offset: float
    brightness: float

    def rng(self, visit: int) -> Random:
        """Scatter of the alert of one visit: the second visit's history repeats the first one."""
        return Random(f"{self.place}:{self.night}:{visit}")


def plan(count: int, night: str) -> Iterator[Exposure]:
    """`count` exposures in order of time; every field is observed twice, as far as they go.

    Raises
    ------
    ConfigError
        So many exposures do not fit into a night.
    """
    seconds = min(EXPOSURE_S, HOURS * 3600 / max(count, 1))
    if seconds < SHORTEST_S:
        raise ConfigError(f"{count:,} exposures do not fit into a night: raise simulator.burst, or send fewer alerts")
    start = naming.midnight(night) + FIRST_HOUR / 24

    def at(number: int) -> float:
        return round(start + number * seconds / 86400, 7)

    for first in range(0, count, 2 * FIELDS):
        block = min(2 * FIELDS, count - first)
        fields = (block + 1) // 2
        for i in range(block):
            visit, field = divmod(i, fields)
            yield Exposure(jd=at(first + i), field=first // 2 + field, visit=visit, first_jd=at(first + field))


def alerts(
    templates: Sequence[Record], n: int, night: str, *, seed: int = 1, schema_version: str = "4.02", burst: int = 100
) -> Iterator[Record]:
    """The alerts of a night, in order of time; each `burst` of them comes from one exposure.

    Parameters
    ----------
    templates : sequence of dict
        Real alerts; reused in turn.
    n : int
        How many alerts.
    night : str
        UTC date of all of them, ``YYYYMMDD``.
    seed : int
        Another seed gives other objects and other scatter.
    schema_version : str
        Goes into ``schemavsn``; from 4 on the alerts have ``fp_hists``.
    burst : int
        Alerts of one exposure.
    """
    for number, exposure in enumerate(plan(-(-n // burst), night)):
        for slot in range(min(burst, n - number * burst)):
            thing = _thing(templates, exposure.field * burst + slot, slot, seed, night)
            record = _alert(thing, exposure) | {"schemavsn": schema_version}
            if schema_version >= "4":
                record["fp_hists"] = _forced(thing, exposure, record)
            yield record


def _thing(templates: Sequence[Record], number: int, slot: int, seed: int, night: str) -> _Object:
    copy, which = divmod(number, len(templates))
    template = templates[which]
    place = f"{seed}:{number}"
    return _Object(
        place=place,
        night=night,
        slot=slot,
        name=naming.object_name(number, seed, template["objectId"][3:5]),
        template=template,
        offset=copy * APART % 360,
        brightness=Random(place).gauss(0, 0.05),
    )


def _alert(thing: _Object, exposure: Exposure) -> Record:
    rng = thing.rng(exposure.visit)
    candidate = _candidate(thing, exposure, rng)
    new = {"objectId": thing.name, "candid": candidate["candid"], "candidate": candidate, "prv_candidates": _history(thing, exposure)}
    old = thing.template["candidate"]
    return thing.template | new | {name: scatter.cutout(thing.template[name], old, candidate, rng) for name in SURVEY.cutouts}


def _candidate(thing: _Object, exposure: Exposure, rng: Random) -> Record:
    """The detection: place in the image, ids and time are new, measurements scatter."""
    new: Record = dict(thing.template["candidate"])
    rcid, tblid = thing.slot % naming.QUADRANTS, thing.slot // naming.QUADRANTS + 1
    pid = naming.image_id(exposure.jd, rcid)
    field = FIRST_FIELD + exposure.field % NUMBER_OF_FIELDS
    start = new["jdstarthist"]
    if start is not None:
        # What the template's night saw for the first time, this night sees for the first time.
        start = exposure.first_jd if start >= new["jd"] else round(start + _days(thing, exposure), 7)
    new.update(jd=exposure.jd, fid=exposure.fid, pid=pid, candid=naming.alert_id(pid, tblid), tblid=tblid, rcid=rcid, field=field)
    new.update(nid=naming.night_number(exposure.jd), pdiffimfilename=naming.difference_image(exposure.jd, field, exposure.fid, rcid))
    new.update(jdstarthist=start, jdendhist=exposure.jd)
    new.update(ndethist=new["ndethist"] + exposure.visit, ncovhist=new["ncovhist"] + exposure.visit)
    for name in SCATTERED:
        if scatter.is_measured(new[name]):
            new[name] *= rng.gauss(1, 0.02)
    scatter.shine(new, thing.brightness, rng)
    scatter.move(new, thing.offset, rng)
    return new


def _history(thing: _Object, exposure: Exposure) -> list[Record] | None:
    """Earlier images: those of the template, whole days later, and at the second visit the first one of this night."""
    images: list[Record] | None = thing.template["prv_candidates"]
    days, rng = _days(thing, exposure), Random(f"{thing.place}:history")
    history = [_earlier(image, days, thing, rng) for image in images or ()]
    if exposure.visit:
        first = Exposure(exposure.first_jd, exposure.field, 0, exposure.first_jd)
        detection = _candidate(thing, first, thing.rng(0))
        history.append({name: detection[name] for name in history_fields()})
        history[-1]["pdiffimfilename"] = naming.archived(detection["pdiffimfilename"])
    return history or images


def _earlier(image: Record, days: int, thing: _Object, rng: Random) -> Record:
    """An earlier image of the template's history, moved in time and place."""
    new = dict(image)
    jd, rcid = round(new["jd"] + days, 7), new["rcid"]
    new.update(jd=jd, nid=naming.night_number(jd), pid=naming.image_id(jd, rcid))
    if new["candid"] is not None:
        new["candid"] = new["pid"] * 1_000_000 + new["candid"] % 1_000_000
    if new["pdiffimfilename"] is not None:
        new["pdiffimfilename"] = naming.archived(naming.difference_image(jd, new["field"], new["fid"], rcid))
    if scatter.is_measured(new["diffmaglim"]):
        new["diffmaglim"] += rng.gauss(0, 0.02)
    scatter.shine(new, thing.brightness, rng)
    scatter.move(new, thing.offset, rng)
    return new


def _forced(thing: _Object, exposure: Exposure, record: Record) -> list[Record] | None:
    """Forced photometry: the template's own if it is of a schema that has it, else made from the history; one alert in four has none."""
    if "fp_hists" not in thing.template:
        return (
            None
            if thing.slot % 4 == 3
            else forced.photometry(record["candidate"], record["prv_candidates"] or [], thing.rng(exposure.visit))
        )
    entries = thing.template["fp_hists"]
    days = _days(thing, exposure)
    return None if entries is None else [_moved_entry(entry, days, thing.offset) for entry in entries]


def _moved_entry(entry: Record, days: int, offset: float) -> Record:
    jd = round(entry["jd"] + days, 7)
    return entry | {"jd": jd, "pid": naming.image_id(jd, entry["rcid"]), "ranr": (entry["ranr"] + offset) % 360}


def _days(thing: _Object, exposure: Exposure) -> int:
    """Whole days, so that times of day stay those of a night; history ends before the first image of this night."""
    return int((exposure.first_jd - thing.template["candidate"]["jd"]) // 1)


@cache
def history_fields() -> tuple[str, ...]:
    """Fields of an entry of `prv_candidates`."""
    schema = json.loads((SURVEY.schemas / "3.3.avsc").read_text(encoding="utf-8"))
    union = next(field["type"] for field in schema["fields"] if field["name"] == SURVEY.history)
    return tuple(field["name"] for field in union[0]["items"]["fields"])
