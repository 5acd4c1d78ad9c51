"""Notices as VOEvent (IVOA, VOEvent 2.0): how GCN sends those of Fermi, Swift, INTEGRAL and SVOM."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

from fink_broker.notices.notice import RETRACTION, Notice, Unusable, julian, named, placed

# Parameters that hold a trigger's id: of GCN's classic notices, SVOM and AMON.
_IDS = ("TrigID", "Burst_Id", "AMON_ID")


def read(text: bytes) -> Notice:
    """Read a VOEvent.

    Raises
    ------
    Unusable
        It is a test, or has no position.
    ValueError
        It cannot be read.
    """
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"no XML: {error}") from error
    if root.get("role") not in ("observation", "prediction"):
        raise Unusable("a test")
    # ivo://nasa.gsfc.gcn/SWIFT#BAT_GRB_Pos_1118357-…; the neutrinos of AMON say who saw them behind the #.
    stream, _, what = root.attrib["ivorn"].partition("#")
    parts = what.split("_")
    who = stream.rpartition("/")[2]
    if who == "AMON":
        who, *parts = parts
    if "svom" in stream.lower():
        who = "svom"
    parameters = {one.get("name", ""): one.get("value", "") for one in root.iterfind(".//{*}What//{*}Param")}
    instrument = parameters.get("Instrument") or parts[0]
    trigger = next((parameters[name] for name in _IDS if name in parameters), None)
    if trigger is None:
        raise ValueError(f"it has none of the parameters {', '.join(_IDS)}")
    retracted = any(one.get("cite") == RETRACTION for one in root.iterfind(".//{*}EventIVORN"))
    about = Notice(named(who), instrument, "", trigger, RETRACTION if retracted else "initial")
    if retracted:
        return about
    ra, dec, radius = (root.findtext(f".//{{*}}Position2D//{{*}}{name}") for name in ("C1", "C2", "Error2Radius"))
    if ra is None or dec is None or radius is None:
        raise Unusable("without a position")
    return placed(replace(about, jd=julian(root.findtext(".//{*}ISOTime") or "")), ra, dec, radius)
