"""The HBase tables of Rubin: families ``r`` (the alert) and ``f`` (what Fink adds).

Names, keys, columns and conditions are those of fink-broker (``rubin/hbase_utils``). Objects of the solar system have tables since version
10 of the alerts, which brought their orbits.
"""

from fink_broker.surveys import healpix
from fink_broker.surveys.table import Table, numbers

# diaObject.firstDiaSourceMjdTai is not filled yet.
FIRST = "coalesce(array_min(prvDiaSources.midpointMjdTai), diaSource.midpointMjdTai)"

_PACKED = "mpc_orbits.packed_primary_provisional_designation"
_IS_SSO = "coalesce(diaSource.ssObjectId, 0) > 0"
_ROOT = {f"r:{name}": name for name in ("observation_reason", "target_name")}
_VERSIONS = {f"f:{name}": name for name in ("fink_broker_version", "fink_science_version", "lsst_schema_version")}
_OF_OBJECT = {"f:is_sso": _IS_SSO, "f:firstDiaSourceMjdTaiFink": FIRST}
_SOURCE = {"r:diaSourceId": "diaSource.diaSourceId", **_ROOT, "r:*": "diaSource.*"}
_ADDED = {**_VERSIONS, "f:*": "fink.*"}
_SSO = {"r:packed_primary_provisional_designation": _PACKED}


def _salt(number: str) -> str:
    """The last three digits, which are as frequent as any others."""
    return f"lpad(right(cast({number} as string), 3), 3, '0')"


# The year of the designation (https://minorplanetcenter.net/iau/info/PackedDes.html).
_SALT_SSO = f"lpad(substring({_PACKED}, 2, 2), 2, '0')"
_SALTS = tuple(f"{salt:03d}" for salt in range(1000))
_YEARS = tuple(f"{year:02d}" for year in range(100))

_STATIC = (_salt("diaObject.diaObjectId"), "diaObject.diaObjectId")

TABLES = (
    Table(
        "rubin.diaSource_static",
        (*_STATIC, "diaSource.midpointMjdTai"),
        {**_SOURCE, **_ADDED},
        where="diaObject is not null",
        needs=("diaObject",),
        spread=_SALTS,
    ),
    Table(
        "rubin.diaSource_sso",
        (_SALT_SSO, _PACKED, "diaSource.midpointMjdTai"),
        # Two columns whose names begin alike: those of the detection, then those of its place in the solar system.
        {**_SOURCE, **_SSO, "r:* ": "ssSource.*", **_ADDED},
        where=f"{_PACKED} is not null",
        needs=("mpc_orbits", "ssSource"),
        spread=_YEARS,
    ),
    Table(
        "rubin.diaObject",
        _STATIC,
        {"r:diaObjectId": "diaObject.diaObjectId", **_ROOT, "r:*": "diaObject.*", **_OF_OBJECT},
        where="diaObject is not null",
        needs=("diaObject",),
        last=True,
        spread=_SALTS,
    ),
    Table(
        "rubin.mpc_orbits",
        (_SALT_SSO, _PACKED),
        {**_SSO, **_ROOT, "r:ssObjectId": "diaSource.ssObjectId", "r:diaSourceId": "diaSource.diaSourceId", "r:*": "mpc_orbits.*"},
        where=f"{_PACKED} is not null",
        needs=("mpc_orbits",),
        last=True,
        spread=_YEARS,
    ),
    Table(
        "rubin.fp",
        (_salt("entry.diaObjectId"), "entry.diaObjectId", "entry.midpointMjdTai"),
        {"r:diaForcedSourceId": "entry.diaForcedSourceId", "r:*": "entry.*"},
        each="prvDiaForcedSources",
        needs=("prvDiaForcedSources",),
        spread=_SALTS,
    ),
    Table(
        "rubin.pixel1024",
        (healpix.ring(1024, "diaSource.ra", "diaSource.dec"), FIRST, "diaObject.diaObjectId"),
        {**_SOURCE, "r:* ": "diaObject.*", **_OF_OBJECT, **_ADDED},
        where="diaObject is not null",
        needs=("diaObject",),
        last=True,
        spread=numbers(12 * 1024 * 1024),
    ),
    Table(
        "rubin.cutouts",
        (_salt("diaSource.diaSourceId"), "diaSource.diaSourceId"),
        {
            **{f"r:{name}": f"diaSource.{name}" for name in ("diaSourceId", "midpointMjdTai", "diaObjectId")},
            "r:hdfs_path": "night_folder",
        },
        spread=_SALTS,
    ),
    Table(
        "rubin.sso_resolver",
        (_salt("diaSource.ssObjectId"), "diaSource.ssObjectId"),
        {
            "r:ssObjectId": "diaSource.ssObjectId",
            **_SSO,
            "r:unpacked_primary_provisional_designation": "mpc_orbits.unpacked_primary_provisional_designation",
            "r:diaSourceId": "diaSource.diaSourceId",
        },
        where=f"{_PACKED} is not null and {_IS_SSO}",
        needs=("mpc_orbits",),
        last=True,
        spread=_SALTS,
    ),
    Table(
        "rubin.tns_resolver",
        ("salt", "fullname", "internalname"),
        {f"f:{name}": name for name in ("fullname", "internalname", "ra", "declination", "type", "redshift", "discoverydate")},
        streamed=False,
    ),
    Table("rubin.statistics", ("night",), {"f:*": "statistics.*"}, streamed=False),
)

# What a filter has chosen: `where` is its condition. One that is in the solar system has no diaObjectId.
TAG = Table(
    "rubin.tag_{}",
    ("diaSource.midpointMjdTai", "coalesce(nullif(diaSource.diaObjectId, 0), diaSource.ssObjectId)"),
    {**_SOURCE, **_ADDED},
)
