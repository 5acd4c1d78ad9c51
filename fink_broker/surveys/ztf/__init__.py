"""The Zwicky Transient Facility."""

from pathlib import Path

from fink_broker.surveys import Survey
from fink_broker.surveys.conditions import Condition
from fink_broker.surveys.facts import Facts
from fink_broker.surveys.ztf.classes import fink_class
from fink_broker.surveys.ztf.counterparts import COUNTERPARTS
from fink_broker.surveys.ztf.lookups import LOOKUPS
from fink_broker.surveys.ztf.quality import CUTS
from fink_broker.surveys.ztf.science import FINK_COLUMNS
from fink_broker.surveys.ztf.statistics import STATISTICS
from fink_broker.surveys.ztf.tables import TABLES

# Brighter than the source in the reference image by less than its distance allows: a variable star, or a bad subtraction.
_STELLAR = "candidate.distnr < 2 and {0} < 1 and {0} < -4 * (log10(candidate.distnr) + 0.2)".format("(candidate.magnr - candidate.magpsf)")
_CUTOUTS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")


SURVEY = Survey(
    name="ztf",
    topic_suffix="ztf",
    schemas=Path(__file__).parent / "schemas",
    alert_id="candid",
    object_id="objectId",
    position=("candidate.ra", "candidate.dec"),
    time="candidate.jd",
    # The UTC calendar date of candidate.jd; MJD 40587 is 1970-01-01.
    night="date_format(date_from_unix_date(cast(floor(candidate.jd - 2400000.5) - 40587 as int)), 'yyyyMMdd')",
    ingest_time=("brokerIngestTimestamp", "batch_time"),
    checks={
        "candid is missing or not positive": "candid > 0",
        # $ would let a line feed at the end pass, into row keys and file names.
        "objectId is missing or not a ZTF name": "objectId rlike '^ZTF[0-9]{2}[a-z]{7}$' and length(objectId) = 12",
        # ZTF saw first light in 2017; JD 2455197.5 is 2010-01-01, JD 2488069.5 is 2100-01-01.
        "candidate.jd is out of range": "candidate.jd between 2455197.5 and 2488069.5",
        "candidate.ra is out of range": "candidate.ra >= 0 and candidate.ra < 360",
        "candidate.dec is out of range": "candidate.dec between -90 and 90",
        # ZTF saturates at 12 and sees to 22; nothing in the sky is brighter than -30.
        "candidate.magpsf is out of range": "candidate.magpsf between -30 and 40",
        "candidate.sigmapsf is out of range": "candidate.sigmapsf between 0 and 40",
        "candidate.fid is not a filter of ZTF": "candidate.fid between 1 and 3",
        # The first bytes of gzip (RFC 1952); what is in it is FITS.
        **{f"{name} is not gzip": f"coalesce(startswith({name}.stampData, X'1F8B'), true)" for name in _CUTOUTS},
    },
    quality={name: Condition(sql) for name, sql in CUTS.items()},
    current="candidate",
    history="prv_candidates",
    cutouts=_CUTOUTS,
    # Fink's cuts (fink-broker, `apply_tracklet_cuts`): new, positive, no known body and no star.
    on_tracks=f"candidate.ssnamenr = 'null' and candidate.ndethist = 1 and candidate.isdiffpos = 't' and not ({_STELLAR})",
    fink_columns=FINK_COLUMNS,
    # As fink-broker's distribution names them for the filters of fink-filters.
    aliases={"cstampDatac": "cutoutScience.stampData", "linear_fit_slope": "lc_features_r.linear_fit_slope"},
    tables=TABLES,
    lookups=LOOKUPS,
    counterparts=COUNTERPARTS,
    statistics=STATISTICS,
    # As Fink's data transfer adds it, and fink-client divides what it stores by it.
    past_columns={"finkclass": fink_class(fink="")},
    # 1 is public; 2 are the partnership's alerts and 3 Caltech's, as `programid` in ZTF's schema says.
    public="candidate.programid = 1",
    histories=("prv_candidates", "fp_hists"),
    # fink-client (`available_topics`) knows them as statistics, and Fink's clock shows how many messages they hold.
    count_topics="fink_ztf_",
    # The second names are those of messages of counterparts.
    facts=Facts(
        object=("objectId",),
        ra=("candidate.ra", "ztf_ra"),
        dec=("candidate.dec", "ztf_dec"),
        time=("candidate.jd", "jd"),
        mjd_zero=2400000.5,
        band=("candidate.fid", "fid"),
        bands={1: "g", 2: "r", 3: "i"},
        prefix="ztf",
        brightness=("candidate.magpsf", "magpsf"),
        error=("candidate.sigmapsf", "sigmapsf"),
        limit=("candidate.diffmaglim", "diffmaglim"),
        sign=("candidate.isdiffpos",),
        negative=("f", "0"),
        page="https://ztf.fink-portal.org/{object}",
    ),
)
