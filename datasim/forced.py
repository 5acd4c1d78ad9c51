"""Forced photometry (`fp_hists`) for alerts of a schema that has it, made from the light curve of templates that have none."""

from __future__ import annotations

from random import Random
from typing import Any

Record = dict[str, Any]

# What ZTF writes where an image gave no forced photometry.
MISSING = -99999.0
FROM_HISTORY = (
    "field",
    "rcid",
    "fid",
    "pid",
    "programid",
    "jd",
    "diffmaglim",
    "magzpsci",
    "magzpsciunc",
    "magzpscirms",
    "clrcoeff",
    "clrcounc",
)
FROM_CANDIDATE = ("rfid", "distnr", "ranr", "decnr", "magnr", "sigmagnr", "chinr", "sharpnr", "exptime")
ABSENT = ("sciinpseeing", "scibckgnd", "scisigpix", "adpctdif1", "adpctdif2")


def photometry(candidate: Record, history: list[Record], rng: Random) -> list[Record]:
    """One entry per earlier image, newest first as ZTF has them.

    Where the image has a detection the flux is that of its magnitude, else noise of the image's depth
    (`diffmaglim` is 5 sigma); in units of the image's zero point.
    """
    return [_entry(candidate, image, rng) for image in reversed(history)]


def _entry(candidate: Record, image: Record, rng: Random) -> Record:
    entry = {name: image.get(name) for name in FROM_HISTORY}
    entry |= {name: candidate[name] for name in FROM_CANDIDATE}
    entry |= dict.fromkeys(ABSENT)
    zero_point = image.get("magzpsci") or candidate.get("magzpsci")
    if zero_point is None or image["diffmaglim"] is None:
        return entry | {"forcediffimflux": MISSING, "forcediffimfluxunc": MISSING, "procstatus": "61"}
    noise = 10 ** (0.4 * (zero_point - image["diffmaglim"])) / 5
    flux = 0.0
    if image["magpsf"] is not None:
        sign = 1 if image["isdiffpos"] in ("t", "1") else -1
        flux = sign * 10 ** (0.4 * (zero_point - image["magpsf"]))
    return entry | {"forcediffimflux": rng.gauss(flux, noise), "forcediffimfluxunc": noise, "procstatus": "0"}
