"""The HBase tables of ZTF: families ``i`` (the alert) and ``d`` (what Fink adds)."""

from fink_broker.surveys import Table, healpix
from fink_broker.surveys.ztf.science import FINK_COLUMNS

_ROOT = ("objectId", "candid", "publisher", "schemavsn", "fink_broker_version", "fink_science_version")


def _columns(*names: str) -> dict[str, str]:
    """Some columns of the main table, by name."""
    columns = {}
    for name in names:
        if name in FINK_COLUMNS:
            columns[f"d:{name}"] = f"fink.{name}"
        else:
            columns[f"i:{name}"] = name if name in _ROOT else f"candidate.{name}"
    return columns


_PIXEL = healpix.ring(128, "candidate.ra", "candidate.dec")

# What a crossmatch of the sky needs.
_CROSSMATCH = _columns(
    *("objectId", "candid", "magpsf", "sigmapsf", "jd", "jdstarthist", "drb", "ra", "dec", "fid", "distnr", "cdsxmatch", "nalerthist")
)

TABLES = (
    Table("ztf", ("objectId", "candidate.jd"), {**_columns(*_ROOT), "i:*": "candidate.*", "d:*": "fink.*"}),
    Table("ztf.pixel128", (_PIXEL, "candidate.jdstarthist", "objectId"), _CROSSMATCH),
)
