"""Which of ZTF's tables answers what."""

from fink_broker.surveys.lookups import Cone, Lookup, Lookups

LOOKUPS = Lookups(
    by={
        "object": Lookup("ztf"),
        "class": Lookup("ztf.class"),
        "solar_system": Lookup("ztf.ssnamenr"),
        "tracklet": Lookup("ztf.tracklet", timed=False),
        "statistics": Lookup("statistics_class", "ztf_{}".format, timed=False),
    },
    cone=Cone("ztf.pixel128", 128),
    cutouts=Lookup("ztf.cutouts"),
    tns=Lookup("ztf.tns_resolver", timed=False),
    solar_system=Lookup("ztf.sso_resolver", "{}".format, timed=False),
    time="i:jd",
    object="i:objectId",
    alert="i:candid",
    # As the checks of the survey allow.
    span=(2455197.5, 2488069.5),
    position=("i:ra", "i:dec"),
    first=("i:objectId", "i:candid", "i:jd", "i:fid", "i:magpsf", "i:sigmapsf", "i:ra", "i:dec", "d:classification", "d:cdsxmatch"),
    # As Fink's API tags them.
    limits={"upperlim": "ztf.upper", "badquality": "ztf.uppervalid"},
)
