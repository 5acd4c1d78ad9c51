"""The Vera C. Rubin Observatory's survey (LSST): alerts of versions 7 to 11.

Its schemas are not part of this project, because those that are published are under the GPL: they come from Rubin's registry, or from a
folder such as that of the package lsst-alert-packet.
"""

from pathlib import Path

from fink_broker.surveys import Survey
from fink_broker.surveys.facts import Facts
from fink_broker.surveys.rubin.lookups import LOOKUPS
from fink_broker.surveys.rubin.statistics import STATISTICS
from fink_broker.surveys.rubin.tables import FIRST, TABLES, TAG

# Exposures are timed in TAI, which has been this far ahead of UTC (s) since 2017-01-01 (IERS Bulletin C): no leap second has come since.
_TAI_UTC = 37
_UTC = f"(diaSource.midpointMjdTai - {_TAI_UTC}D / 86400D)"

_CUTOUTS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")

# What the modules of fink-science say of an alert, as the filters of fink-filters name it: null where the module is off.
_UNKNOWN = {
    "simbad_otype": "string",
    "mangrove_lum_dist": "float",
    "gaiadr3_DR3Name": "string",
    "gaiadr3_Plx": "float",
    "gaiadr3_e_Plx": "float",
    "vsx_Type": "string",
    "legacydr8_zphot": "float",
    "tns_fullname": "string",
    "cats_class": "int",
    "cats_score": "float",
    "snnSnVsOthers_score": "float",
}

SURVEY = Survey(
    name="rubin",
    topic_suffix="lsst",
    form="confluent",
    schemas=Path(__file__).parent / "schemas",
    # At the top level it is called alertId up to version 7, diaSourceId since 8: in the detection it always has this name.
    alert_id="diaSource.diaSourceId",
    # Null or 0 where the detection was matched with a known object of the solar system.
    object_id="coalesce(nullif(diaSource.diaObjectId, 0), diaSource.ssObjectId)",
    position=("diaSource.ra", "diaSource.dec"),
    time=f"{_UTC} + 2400000.5D",
    # day_obs of Rubin (SITCOMTN-032): the date of UTC less 12 hours, so that no night in Chile has two; MJD 40587 is 1970-01-01.
    night=f"date_format(date_from_unix_date(cast(floor({_UTC} - 0.5D) - 40587 as int)), 'yyyyMMdd')",
    # MJD 40587 is 1970-01-01.
    ingest_time=("brokerIngestMjd", "unix_micros(batch_time) / 86400e6D + 40587D"),
    checks={
        "diaSourceId is missing or not positive": "diaSource.diaSourceId > 0",
        "diaObjectId is negative": "coalesce(diaSource.diaObjectId, 0) >= 0",
        "ssObjectId is negative": "coalesce(diaSource.ssObjectId, 0) >= 0",
        # MJD 55197 is 2010-01-01, before the images that rehearsals are made from; MJD 88069 is 2100-01-01.
        "midpointMjdTai is out of range": "diaSource.midpointMjdTai between 55197 and 88069",
        "ra is out of range": "diaSource.ra >= 0 and diaSource.ra < 360",
        "dec is out of range": "diaSource.dec between -90 and 90",
        # FITS files begin with this keyword (FITS standard 4.0, section 4.4.1.1).
        **{f"{name} is not a FITS file": f"coalesce(startswith({name}, cast('SIMPLE  =' as binary)), true)" for name in _CUTOUTS},
    },
    quality={},
    statistics=STATISTICS,
    current="diaSource",
    history="prvDiaSources",
    cutouts=_CUTOUTS,
    aliases={
        "is_sso": "coalesce(diaSource.ssObjectId, 0) > 0",
        "firstDiaSourceMjdTaiFink": FIRST,
        **{name: f"cast(null as {kind})" for name, kind in _UNKNOWN.items()},
    },
    tables=TABLES,
    tag=TAG,
    lookups=LOOKUPS,
    schema_version="lsst_schema_version",
    histories=("prvDiaSources", "prvDiaForcedSources"),
    facts=Facts(
        object=("diaSource.diaObjectId", "diaSource.ssObjectId"),
        ra=("diaSource.ra",),
        dec=("diaSource.dec",),
        time=("diaSource.midpointMjdTai",),
        mjd_zero=_TAI_UTC / 86400,
        band=("diaSource.band",),
        prefix="lsst",
        brightness=("diaSource.psfFlux",),
        error=("diaSource.psfFluxErr",),
        zero_point=31.4,  # fluxes are in nJy
        page="https://lsst.fink-portal.org/{object}",
    ),
)
