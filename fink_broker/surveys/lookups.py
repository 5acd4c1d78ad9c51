"""Which of a survey's HBase tables answers what, for the query layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Question = Literal["object", "class", "solar_system", "tracklet", "statistics"]


@dataclass(frozen=True)
class Lookup:
    """The rows that belong to a name, such as that of an object or a class.

    Parameters
    ----------
    table : str
        Table; ``{}`` stands for the name where each has its own.
    begin : callable
        How the keys of a name's rows begin.
    timed : bool
        Whether the time of the alert is next in the keys.
    """

    table: str
    begin: Callable[[str], str] = "{}_".format
    timed: bool = True


@dataclass(frozen=True)
class Cone:
    """The table of objects by their place in the sky: its keys begin with a HEALPix pixel, ring scheme, and an underscore."""

    table: str
    nside: int


@dataclass(frozen=True)
class Lookups:
    """What the query layer has to know of a survey's tables; columns are ``family:name``.

    Parameters
    ----------
    by : mapping
        What is asked for to the table that has it.
    cone : Cone
        Objects by position.
    cutouts : Lookup
        In which folder of the archive an alert is; by its object and time, or without time in the keys by its own id.
    time, object, alert : str
        Columns: time of the exposure (days, see `Facts.mjd_zero`), the object's name, the alert's id.
    span : tuple of float
        Between which times alerts can be, in the same days; by their digits they are told from the rest of a name in keys
        (``Seyfert_2458850.5``, ``Seyfert_1_2458850.5``).
    position : tuple of str
        Columns: right ascension and declination, degrees.
    first : tuple of str
        Columns that say most: they come first where no others are asked for.
    limits : mapping
        Tag to a table with the keys of the main one: what was seen of an object beside its alerts.
    tag : str
        Column of that tag in a light curve.
    folder : str
        Column of `cutouts` with the folder.
    tns, solar_system : Lookup
        Tables of names, by those in small letters.
    """

    by: Mapping[Question, Lookup]
    cone: Cone
    cutouts: Lookup
    tns: Lookup
    solar_system: Lookup
    time: str
    object: str
    alert: str
    span: tuple[float, float]
    position: tuple[str, str]
    first: tuple[str, ...] = ()
    limits: Mapping[str, str] = field(default_factory=dict)
    tag: str = "d:tag"
    folder: str = "d:hdfs_path"
