"""Which of Rubin's tables answers what. Their keys begin with a salt, as `tables` makes it in SQL."""

import re
from string import ascii_lowercase, ascii_uppercase, digits

from fink_broker.surveys.lookups import Api, Cone, Lookup, Lookups

_DIGITS = digits + ascii_uppercase + ascii_lowercase


def _salted(number: str) -> str:
    return f"{number[-3:]:0>3}_{number}_"


def _salted_id(number: str) -> str:
    return _salted(number).removesuffix("_")


# Provisional designations, and how the MPC packs them (https://minorplanetcenter.net/iau/info/PackedDes.html).
_PROVISIONAL = re.compile(r"(18|19|20)(\d\d) ?([A-HJ-Y])([A-HJ-Z])(\d{0,3})")
_CENTURIES = {"18": "I", "19": "J", "20": "K"}


def _packed(designation: str) -> str:
    if found := _PROVISIONAL.fullmatch(designation):
        century, year, half_month, letter, cycle = found.groups()
        tens, ones = divmod(int(cycle or 0), 10)
        if tens < len(_DIGITS):
            designation = f"{_CENTURIES[century]}{year}{half_month}{_DIGITS[tens]}{ones}{letter}"
    return f"{designation[1:3]:0>2}_{designation}_"


def _no_name(_: str) -> str:
    return ""


LOOKUPS = Lookups(
    by={
        "object": Lookup("rubin.diaSource_static", _salted),
        "class": Lookup("rubin.tag_{}", _no_name),
        "solar_system": Lookup("rubin.diaSource_sso", _packed),
        "summary": Lookup("rubin.diaObject", _salted_id, timed=False, whole=True),
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
    body="r:packed_primary_provisional_designation",
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
