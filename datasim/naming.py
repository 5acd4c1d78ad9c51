"""ZTF's numbers and names: image ids, alert ids, file names and object names, as functions of time and place."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from fink_broker.errors import UsageError

# Night 0 of ZTF's image ids is 2017-01-01; after night 9222 an alert id would not fit into 64 bits.
FIRST_NIGHT = date(2017, 1, 2)
LAST_NIGHT = date(2042, 3, 31)
NIGHT_ZERO = 2457754.5

QUADRANTS = 64
_LETTERS = 26**7
# Odd and no multiple of 13, so that counting in this step visits each of the 26**7 names once.
_STEP = 4_837_295_119


def midnight(night: str) -> float:
    """Julian date at which the UTC date `night` (``YYYYMMDD``) begins.

    Raises
    ------
    UsageError
        It is no date, or none of ZTF's.
    """
    try:
        day = datetime.strptime(night, "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError as error:
        raise UsageError(f"'{night}' is not a night: give it as YYYYMMDD") from error
    if not FIRST_NIGHT <= day <= LAST_NIGHT:
        raise UsageError(f"{night} is no night that ZTF can number: give one from {FIRST_NIGHT:%Y%m%d} to {LAST_NIGHT:%Y%m%d}")
    return day.toordinal() + 1721424.5


def night_number(jd: float) -> int:
    """ZTF's `nid`: nights since 2017-01-01."""
    return math.floor(jd - NIGHT_ZERO)


def image_id(jd: float, rcid: int) -> int:
    """ZTF's `pid`: night number, day fraction (5 digits), quadrant (2 digits), 15."""
    number = night_number(jd)
    fraction = int((jd - NIGHT_ZERO - number) * 1e5)
    return ((number * 100_000 + fraction) * 100 + rcid) * 100 + 15


def alert_id(pid: int, tblid: int) -> int:
    """ZTF's `candid`: the image id, then 6 digits that count the detections in the image."""
    return pid * 1_000_000 + 15_000 + tblid


@lru_cache(maxsize=4096)
def _calendar(number: int) -> str:
    return f"{date(2017, 1, 1) + timedelta(days=number):%Y%m%d}"


def difference_image(jd: float, field: int, fid: int, rcid: int) -> str:
    """File name of a difference image, such as ``ztf_20190903187928_000385_zr_c09_o_q4_scimrefdiffimg.fits``."""
    number = night_number(jd)
    fraction = int((jd - NIGHT_ZERO - number) * 1e6)
    band = "gri"[fid - 1]
    return f"ztf_{_calendar(number)}{fraction:06d}_{field:06d}_z{band}_c{rcid // 4 + 1:02d}_o_q{rcid % 4 + 1}_scimrefdiffimg.fits"


def archived(name: str) -> str:
    """Path of a difference image in ZTF's archive, as earlier detections have it."""
    return f"/ztf/archive/sci/{name[4:8]}/{name[8:12]}/{name[12:18]}/{name}.fz"


def object_name(number: int, seed: int, year: str) -> str:
    """A name as ZTF gives them, ``ZTF19abcdefg``: different for different `number`, the same again for the same `seed`."""
    left = (number * _STEP + seed * 104_729) % _LETTERS
    letters = []
    for _ in range(7):
        left, letter = divmod(left, 26)
        letters.append(chr(ord("a") + letter))
    return f"ZTF{year}{''.join(letters)}"
