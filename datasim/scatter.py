"""What makes an alert differ from the template: brightness, place in the sky, and the bytes of the cutouts."""

from __future__ import annotations

from random import Random
from typing import Any

Record = dict[str, Any]

GZIP = b"\x1f\x8b"
# What ZTF writes for "not measured".
ABSENT = (None, -999.0, -99.0)


def is_measured(value: float | None) -> bool:
    """Whether there is a number that may scatter."""
    return value not in ABSENT


def shine(measured: Record, brightness: float, rng: Random) -> None:
    """The object's own brightness offset and the scatter of one measurement, in magnitudes; differences are kept true."""
    for name in ("magpsf", "magap"):
        if is_measured(measured[name]):
            measured[name] += brightness + rng.gauss(0, 0.02)
    if not (is_measured(measured["magpsf"]) and is_measured(measured["magap"])):
        return
    measured["magdiff"] = measured["magap"] - measured["magpsf"]
    if is_measured(measured["diffmaglim"]):
        measured["magfromlim"] = measured["diffmaglim"] - measured["magap"]


def move(measured: Record, offset: float, rng: Random) -> None:
    """Right ascension by `offset` degrees; positions scatter by 0.04 arcsec."""
    for name in ("ra", "ranr"):
        if measured[name] is not None:
            measured[name] = (measured[name] + offset) % 360
    for name in ("ra", "dec"):
        if measured[name] is not None:
            measured[name] += rng.gauss(0, 1e-5)
    if measured["ra"] is not None:
        measured["ra"] %= 360


def cutout(cutout: Record | None, old: Record, new: Record, rng: Random) -> Record | None:
    """A cutout under the new ids; the time in its gzip header makes its bytes differ from those of other copies."""
    if cutout is None:
        return None
    name = cutout["fileName"].replace(f"candid{old['candid']}", f"candid{new['candid']}").replace(f"pid{old['pid']}", f"pid{new['pid']}")
    data: bytes = cutout["stampData"]
    if data.startswith(GZIP):
        packed = int((new["jd"] - 2440587.5) * 86400) + rng.randrange(86400)
        data = data[:4] + packed.to_bytes(4, "little") + data[8:]
    return {"fileName": name, "stampData": data}
