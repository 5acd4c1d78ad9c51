"""Which of a survey's HBase tables answers what, for the query layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from fink_broker.surveys.conditions import Condition

Question = Literal["object", "class", "solar_system", "tracklet", "statistics", "tns", "anomaly", "summary", "forced"]


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
    whole : bool
        Whether nothing is: there is one row of a name.
    """

    table: str
    begin: Callable[[str], str] = "{}_".format
    timed: bool = True
    whole: bool = False


@dataclass(frozen=True)
class Cone:
    """The table of objects by their place in the sky: its keys begin with a HEALPix pixel, ring scheme, and an underscore."""

    table: str
    nside: int


@dataclass(frozen=True)
class Computed:
    """What the columns ``v:`` of Fink's API are worked out from, beside time and position; columns are ``family:name``.

    Parameters
    ----------
    begins : str
        Time of the object's first detection.
    band, magnitude, error : str
        Filter of the telescope, brightness and its error, magnitudes.
    blue, red : int
        Bands between which a colour is.
    kind : str
        The class that a catalogue gives, which stays where `catalogued` holds.
    catalogued : Condition
        On the columns by their names without families.
    classes : mapping
        Name of a class to its condition; the first that holds counts.
    """

    begins: str
    band: str
    magnitude: str
    error: str
    blue: int
    red: int
    kind: str
    catalogued: Condition
    classes: Mapping[str, Condition]


@dataclass(frozen=True)
class Api:
    """What Fink's public API of a survey is called by.

    Parameters
    ----------
    object, alert, name : str
        Parameters: the object, the alert, a name to be resolved.
    paths : mapping
        Path to the question that it asks of objects.
    labels : mapping
        What is before the name of a class to the question that it is: ``(TNS) SN Ia``.
    classes : mapping
        Title to the labels that are listed under it, in `/classes`.
    night : str
        Column of a night in its statistics.
    families : mapping
        Family to its title in `/schema`.
    """

    object: str
    alert: str
    name: str
    paths: Mapping[str, Question]
    families: Mapping[str, str]
    labels: Mapping[str, Question] = field(default_factory=dict)
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    night: str = "key:key"


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
    api : Api
        How Fink's public API asks.
    body : str
        Column by whose values known bodies of the solar system are asked for; of the alerts and of the table of their names.
    catalogued : tuple of str
        Columns that say what is known of an object in SIMBAD.
    score : str, optional
        Column by which anomalies are found: the lowest are the strangest.
    computed : Computed, optional
        Columns ``v:``.
    """

    by: Mapping[Question, Lookup]
    cone: Cone
    cutouts: Lookup
    tns: Lookup
    solar_system: Lookup
    time: str
    object: str
    alert: str
    position: tuple[str, str]
    api: Api
    body: str
    catalogued: tuple[str, ...] = ()
    score: str | None = None
    computed: Computed | None = None
    first: tuple[str, ...] = ()
    limits: Mapping[str, str] = field(default_factory=dict)
    tag: str = "d:tag"
    folder: str = "d:hdfs_path"
