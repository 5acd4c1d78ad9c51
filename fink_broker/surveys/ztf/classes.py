"""The class of an alert by Fink's published rule, out of what catalogues and classifiers say of it."""

from __future__ import annotations

from itertools import combinations

# SIMBAD's types that a supernova may have for a host, in its old and new names, and those that say nothing (fink-utils,
# `return_list_of_eg_host`).
GALAXIES = (
    *("galaxy", "Galaxy", "EmG", "Seyfert", "Seyfert_1", "Seyfert_2", "BlueCompG", "StarburstG", "LSB_G", "HII_G", "High_z_G"),
    *("GinPair", "GinGroup", "BClG", "GinCl", "PartofG", "Compact_Gr_G", "IG", "PairG", "GroupG", "ClG", "SuperClG", "Void"),
    *("LINER", "Possible_ClG", "Possible_SClG", "GravLens_Candidate"),
)
_HOSTS = ("Unknown", "Candidate_SN*", "SN*_Candidate", "SN", "Transient", "Fail", "Fail 504", *GALAXIES)

# Classes of what lies outside our galaxy, or of which nothing is known (fink-filters 7.45, `filter_mm_module`).
EXTRAGALACTIC = (*_HOSTS, "Kilonova candidate", "SN candidate", "Early SN Ia candidate", "Ambiguous")


def conditions(fink: str = "", alert: str = "", tracklet: str | None = None) -> tuple[str, dict[str, str]]:
    """The rule: whether the type in SIMBAD is the class, and if not, class to its condition, of which the first that holds counts.

    Parameters
    ----------
    fink, alert : str
        What is before the names of Fink's columns and of the alert's own.
    tracklet : str, optional
        Expression of the tracklet, where there is no such column yet.

    Returns
    -------
    tuple
        In SQL, as Spark and `Condition` understand it. The rule is that of fink-filters 7.45, ``extract_fink_classification``, with the
        filters that it calls; what is null flags nothing.
    """
    host = f"{fink}cdsxmatch in ({', '.join(repr(name) for name in _HOSTS)})"
    sound = f"{alert}drb > 0.5 and {alert}classtar > 0.4 and {host}"
    age = f"({alert}jd - {alert}jdstarthist)"
    supernova_like = f"({fink}snn_snia_vs_nonia > 0.5 or {fink}snn_sn_vs_all > 0.5) and {sound}"
    nothing = " or ".join(f"startswith({fink}cdsxmatch, '{begin}')" for begin in ("Fail", "Galaxy"))
    kilonova = f"{fink}rf_kn_vs_nonkn > 0.5 and {sound} and {age} < 5 and {alert}ndethist < 20 and {fink}roid != 3"
    early = f"{supernova_like} and {alert}ndethist <= 20 and {fink}rf_snia_vs_nonia > 0.5"
    supernova = f"{supernova_like} and {age} <= 90 and {alert}ndethist > 1 and {fink}roid != 3"
    microlensing = f"{fink}mulens > 0"
    # Two of three.
    pairs = combinations((microlensing, supernova, f"{fink}roid in (2, 3)"), 2)
    return f"{fink}cdsxmatch not in ('Unknown', 'Transient') and not ({nothing})", {
        "Ambiguous": " or ".join(f"({one} and {other})" for one, other in pairs),
        "Solar System MPC": f"{fink}roid = 3",
        "Tracklet": f"startswith({tracklet or f'{fink}tracklet'}, 'TRCK_')",
        "Solar System candidate": f"{fink}roid = 2",
        "Kilonova candidate": kilonova,
        "Early SN Ia candidate": early,
        "SN candidate": supernova,
        "Microlensing candidate": microlensing,
    }


def fink_class(fink: str = "fink.", alert: str = "candidate.", tracklet: str | None = None) -> str:
    """Expression of an alert's class: the type in SIMBAD, or what one classifier says, ``Ambiguous`` if several do, or ``Unknown``.

    Parameters
    ----------
    fink, alert, tracklet : str
        See `conditions`.

    Returns
    -------
    str
        Spark SQL of type string.
    """
    simbad, classes = conditions(fink, alert, tracklet)
    cases = " ".join(f"when {condition} then '{name}'" for name, condition in classes.items())
    return f"case when {simbad} then {fink}cdsxmatch {cases} else 'Unknown' end"
