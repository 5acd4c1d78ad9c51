"""Which of ZTF's tables answers what."""

from fink_broker.surveys.conditions import Condition
from fink_broker.surveys.lookups import Api, Computed, Cone, Lookup, Lookups
from fink_broker.surveys.ztf.classes import conditions

_CATALOGUED, _CLASSES = conditions()


def _no_name(_: str) -> str:
    return ""


LOOKUPS = Lookups(
    by={
        "object": Lookup("ztf"),
        "class": Lookup("ztf.class"),
        "solar_system": Lookup("ztf.ssnamenr"),
        "tracklet": Lookup("ztf.tracklet", timed=False),
        "tns": Lookup("ztf.tns"),
        "anomaly": Lookup("ztf.anomaly", _no_name),
        "statistics": Lookup("statistics_class", "ztf_{}".format, timed=False),
    },
    cone=Cone("ztf.pixel128", 128),
    cutouts=Lookup("ztf.cutouts"),
    tns=Lookup("ztf.tns_resolver", timed=False),
    solar_system=Lookup("ztf.sso_resolver", "{}".format, timed=False),
    time="i:jd",
    object="i:objectId",
    alert="i:candid",
    position=("i:ra", "i:dec"),
    first=("i:objectId", "i:candid", "i:jd", "i:fid", "i:magpsf", "i:sigmapsf", "i:ra", "i:dec", "d:classification", "d:cdsxmatch"),
    # As Fink's API tags them.
    limits={"upperlim": "ztf.upper", "badquality": "ztf.uppervalid"},
    body="i:ssnamenr",
    catalogued=("i:objectId", "d:cdsxmatch", "i:ra", "i:dec", "i:candid", "i:jd"),
    score="d:anomaly_score",
    computed=Computed(
        begins="i:jdstarthist",
        band="i:fid",
        magnitude="i:magpsf",
        error="i:sigmapsf",
        blue=1,
        red=2,
        kind="d:cdsxmatch",
        catalogued=Condition(_CATALOGUED),
        classes={name: Condition(sql) for name, sql in _CLASSES.items()},
    ),
    # As https://api.ztf.fink-portal.org has it (fink-object-api, apps/routes/v1/ztf).
    api=Api(
        object="objectId",
        alert="candid",
        name="name",
        paths={"objects": "object"},
        labels={"(SIMBAD) ": "class", "(TNS) ": "tns"},
        classes={"Fink classifiers": (*_CLASSES, "Unknown")},
        families={"i": "ZTF original fields (i:)", "d": "Fink science module outputs (d:)", "v": "Fink added values (v:)"},
    ),
)
