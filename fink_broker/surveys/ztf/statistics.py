"""What is counted of a night of ZTF: Fink's ``statistics_class``, as its portal and API read it."""

from fink_broker.surveys.statistics import Statistics
from fink_broker.surveys.ztf.classes import GALAXIES, fink_class

STATISTICS = Statistics(
    table="statistics_class",
    key="ztf_{}",
    raw="basic:raw",
    counts={
        "basic:sci": "true",
        "basic:n_g": "candidate.fid = 1",
        "basic:n_r": "candidate.fid = 2",
        "class:simbad_tot": "cdsxmatch not in ('Unknown', 'Transient') and not cdsxmatch like 'Fail%'",
        "class:simbad_gal": f"cdsxmatch in ({', '.join(repr(name) for name in GALAXIES)})",
    },
    distinct={"basic:exposures": "candidate.jd", "basic:fields": "candidate.field"},
    by={
        # Tracks are looked for when a night is merged.
        "class": fink_class(fink="", tracklet="''"),
        "field": "candidate.field",
        "band": "element_at(array('g', 'r', 'i'), candidate.fid)",
    },
    columns={"class": "class"},
)
