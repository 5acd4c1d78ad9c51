"""Which of Rubin's tables answers what. Their keys begin with a salt, as `tables` makes it in SQL."""

from fink_broker.surveys.lookups import Api, Cone, Lookup, Lookups


def _salted(number: str) -> str:
    return f"{number[-3:]:0>3}_{number}_"


def _salted_id(number: str) -> str:
    return _salted(number).removesuffix("_")


def _packed(designation: str) -> str:
    return f"{designation[1:3]:0>2}_{designation}_"


def _no_name(_: str) -> str:
    return ""


LOOKUPS = Lookups(
    by={
        "object": Lookup("rubin.diaSource_static", _salted),
        "class": Lookup("rubin.tag_{}", _no_name),
        "solar_system": Lookup("rubin.diaSource_sso", _packed),
        "summary": Lookup("rubin.diaObject", _salted_id, timed=False),
        "forced": Lookup("rubin.fp", _salted),
        "statistics": Lookup("rubin.statistics", "{}".format, timed=False),
    },
    cone=Cone("rubin.pixel1024", 1024),
    cutouts=Lookup("rubin.cutouts", _salted_id, timed=False),
    tns=Lookup("rubin.tns_resolver", _salted, timed=False),
    solar_system=Lookup("rubin.sso_resolver", _salted_id, timed=False),
    time="r:midpointMjdTai",
    object="r:diaObjectId",
    alert="r:diaSourceId",
    position=("r:ra", "r:dec"),
    first=("r:diaObjectId", "r:diaSourceId", "r:midpointMjdTai", "r:band", "r:psfFlux", "r:psfFluxErr", "r:ra", "r:dec"),
    tag="f:tag",
    folder="r:hdfs_path",
    body="r:ssObjectId",
    # As https://api.lsst.fink-portal.org has it (fink-object-api, apps/routes/v1/lsst).
    api=Api(
        object="diaObjectId",
        alert="diaSourceId",
        name="name_or_id",
        paths={"objects": "summary", "sources": "object", "fp": "forced"},
        night="f:night",
        families={"r": "Rubin original fields (r:)", "f": "Fink added values (f:)"},
    ),
)
