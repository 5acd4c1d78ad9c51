"""Which ZTF alerts are matched with notices of other observatories, and the topics that they go to, by Fink's published definitions."""

from fink_broker.surveys import Counterparts
from fink_broker.surveys.ztf.classes import EXTRAGALACTIC, fink_class

# No known body within 5 arcsec, no star of Pan-STARRS within 2 and none of Gaia within 5; -999 is none near (fink-mm, `fink_mm.conf` and
# `ztf_grb_filter`).
_WHERE = (
    "(candidate.ssdistnr > 5 or candidate.ssdistnr = -999) "
    "and (candidate.distpsnr1 > 2 or candidate.distpsnr1 = -999 or candidate.sgscore1 < 0) "
    "and (candidate.neargaia > 5 or candidate.neargaia = -999)"
)
_CANDIDATE = ("candid", "fid", "jdstarthist", "rb", "jd", "magpsf", "sigmapsf")

# fink-filters 7.45, `filter_mm_module`: 5 sigma are a probability of erf(5 / sqrt 2) that it is no chance; errors are in arcmin. SVOM and
# Einstein Probe are younger than that list: without a published rate of theirs there is no probability, so they reach bronze only.
_EXTRAGALACTIC = f"rb >= 0.7 and fink_class in ({', '.join(repr(name) for name in EXTRAGALACTIC)})"
_BRONZE = f"observatory in ('Fermi', 'SWIFT', 'INTEGRAL', 'SVOM', 'EinsteinProbe') and {_EXTRAGALACTIC}"
_SILVER = f"{_BRONZE} and 1D - p_assoc > 0.9999994266968562D"
_GOLD = f"{_SILVER} and rb >= 0.9 and gcn_loc_error / 60 <= 5 and abs(mag_rate) > 0.3"

COUNTERPARTS = Counterparts(
    where=_WHERE,
    begins="candidate.jdstarthist",
    # 0 where the module is off that looks for it.
    real="coalesce(nullif(jd_first_real_det, 0D), candidate.jdstarthist)",
    columns={
        "objectId": "objectId",
        **{name: f"candidate.{name}" for name in _CANDIDATE},
        "ztf_ra": "candidate.ra",
        "ztf_dec": "candidate.dec",
        "fink_class": fink_class(fink="", tracklet="''"),
    },
    topics={
        "fink_grb_bronze": _BRONZE,
        "fink_grb_silver": _SILVER,
        "fink_grb_gold": _GOLD,
        "fink_gw_bronze": f"observatory = 'LVK' and {_EXTRAGALACTIC}",
    },
    # fink-mm, `grb_prob`: 31 transients by square degree, 141,994 a night; 3,750 square degrees an hour, for four hours.
    per_deg2=31.0,
    a_night=141_994.0,
    deg2=15_000.0,
)
