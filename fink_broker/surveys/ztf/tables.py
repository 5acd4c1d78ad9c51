"""The HBase tables of ZTF: families ``i`` (the alert) and ``d`` (what Fink adds).

Names, keys, columns and conditions are those of fink-broker (``archive_science``, ``archive_index``, ``archive_images``,
``archive_anomaly``).
"""

from fink_broker.surveys import healpix
from fink_broker.surveys.table import Table, numbers
from fink_broker.surveys.ztf.classes import fink_class
from fink_broker.surveys.ztf.quality import CUTS
from fink_broker.surveys.ztf.science import FINK_COLUMNS

_ROOT = ("candid", "objectId", "publisher", "schemavsn", "fink_broker_version", "fink_science_version")


def _columns(*names: str) -> dict[str, str]:
    """Some columns of the main table, by name."""
    columns = {}
    for name in names:
        if name in FINK_COLUMNS:
            columns[f"d:{name}"] = f"fink.{name}"
        else:
            columns[f"i:{name}"] = name if name in _ROOT else f"candidate.{name}"
    return columns


def _entry(*names: str) -> dict[str, str]:
    """Some columns of an entry of the history, by name."""
    return {"i:objectId": "objectId", **{f"i:{name}": f"entry.{name}" for name in names}}


_PIXEL = healpix.ring(128, "candidate.ra", "candidate.dec")

_ALL = {**_columns(*_ROOT), "i:*": "candidate.*", "d:*": "fink.*"}

# What a crossmatch of the sky needs.
_CROSSMATCH = {
    **_columns("candid", "objectId", "magpsf", "sigmapsf", "jd", "jdstarthist", "drb", "ra", "dec", "fid", "distnr", "cdsxmatch"),
    **_columns("nalerthist"),
    "d:classification": fink_class(),
}

# What an index has of an alert (fink-broker, `load_ztf_index_cols`).
_INDEX = {
    **_columns(
        "candid", "objectId", "publisher", "rcid", "chipsf", "distnr", "ra", "dec", "jd", "fid", "nid", "field", "xpos", "ypos", "rb"
    ),
    **_columns("ssdistnr", "ssmagnr", "ssnamenr", "jdstarthist", "jdendhist", "tooflag", "sgscore1", "distpsnr1", "neargaia", "maggaia"),
    **_columns("nmtchps", "diffmaglim", "magpsf", "sigmapsf", "magnr", "sigmagnr", "magzpsci", "isdiffpos", "classtar", "drb", "ndethist"),
    "d:*": "fink.*",
}

_CUTOUTS = {**_columns("candid", "objectId", "jd"), "d:hdfs_path": "night_folder"}

# Below the cuts, so there is no alert of it in the main table.
_BELOW_QUALITY = f"not coalesce({' and '.join(CUTS.values())}, false)".replace("candidate.", "entry.")

# ZTF counts its objects of a year in letters, aaaaaaa first; about 26^5 of them.
_OBJECTS = tuple(f"ZTF{year}a{second}{third}" for year in range(17, 27) for second in "abcd" for third in "abcdefghijklmnopqrstuvwxyz")
_DAYS = tuple(str(jd) for jd in range(2_458_200, 2_463_000, 50))
_CLASSES = ("Ambiguous", "EB*", "QSO", "RRLyrae", "Solar System MPC", "Star", "Unknown")

TABLES = (
    Table("ztf", ("objectId", "candidate.jd"), _ALL, spread=_OBJECTS),
    Table("ztf.pixel128", (_PIXEL, "candidate.jdstarthist", "objectId"), _CROSSMATCH, last=True, spread=numbers(12 * 128 * 128)),
    Table(
        "ztf.class",
        (fink_class(), "candidate.jd", "objectId"),
        {**_INDEX, "d:classification": fink_class()},
        spread=tuple(f"{name}_{day}" for name in _CLASSES for day in _DAYS),
    ),
    Table("ztf.ssnamenr", ("candidate.ssnamenr", "candidate.jd"), _INDEX, where="fink.roid = 3", spread=numbers(800_000)),
    Table(
        "ztf.tracklet",
        ("fink.tracklet", "objectId"),
        _INDEX,
        # No tracklet is '', or 'null' in alerts of before 2021-08-10.
        where="fink.tracklet not in ('', 'null')",
        spread=tuple(f"TRCK_{year}{month:02d}" for year in range(2018, 2028) for month in range(1, 13)),
    ),
    Table("ztf.tns", ("fink.tns", "candidate.jd", "objectId"), _INDEX, where="fink.tns != ''"),
    Table(
        "ztf.upper",
        ("objectId", "entry.jd"),
        _entry("jd", "fid", "diffmaglim"),
        each="prv_candidates",
        where="entry.magpsf is null",
        spread=_OBJECTS,
    ),
    Table(
        "ztf.uppervalid",
        ("objectId", "entry.jd"),
        _entry("jd", "fid", "magpsf", "sigmapsf", "diffmaglim", "magnr", "sigmagnr", "isdiffpos", "distnr"),
        each="prv_candidates",
        where=f"entry.magpsf is not null and {_BELOW_QUALITY}",
        spread=_OBJECTS,
    ),
    Table(
        "ztf.cutouts",
        ("objectId", "candidate.jd"),
        {**_columns("candid", "objectId", "jd"), "d:hdfs_path": "night_folder"},
        spread=_OBJECTS,
    ),
    # Fink keeps the ten lowest scores of a night; here is every alert with a score.
    Table("ztf.anomaly", ("candidate.jd", "objectId"), _ALL, where="fink.anomaly_score != 0", spread=_DAYS),
    Table(
        "ztf.tns_resolver",
        ("fullname", "internalname"),
        {f"d:{name}": name for name in ("fullname", "internalname", "ra", "declination", "type", "redshift", "discoverydate")},
        streamed=False,
    ),
    Table("ztf.sso_resolver", ("ssodnet",), {f"i:{name}": name for name in ("ssodnet", "ssnamenr", "name", "number")}, streamed=False),
    Table("statistics_class", ("concat('ztf_', night)",), {"basic:*": "basic.*", "class:*": "class.*"}, streamed=False),
)
