"""A survey is data: columns, nights, checks, cuts, schemas and tables. Services never ask which one it is."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from fink_broker.errors import ConfigError
from fink_broker.surveys.conditions import Condition
from fink_broker.surveys.facts import Facts
from fink_broker.surveys.lookups import Lookups
from fink_broker.surveys.statistics import Statistics
from fink_broker.surveys.table import FinkColumn, Table

__all__ = ["Counterparts", "Facts", "FinkColumn", "Statistics", "Survey", "Table", "get", "names", "with_cuts"]


@dataclass(frozen=True)
class Counterparts:
    """Alerts that may be the counterparts of what another observatory has noticed: what is sent of them, and where.

    Parameters
    ----------
    where : str
        Condition on the alerts that are looked at.
    begins, real : str
        Expressions: when the object was first seen, and first well; Julian dates, days.
    columns : mapping
        Published name to expression; the columns that Fink adds come with them, and those of the notice.
    topics : mapping
        Topic to the condition on these columns.
    per_deg2, a_night, deg2 : float
        Transients that the survey finds in a night in a square degree, in all, and the square degrees that it covers.
    """

    where: str
    begins: str
    real: str
    columns: Mapping[str, str]
    topics: Mapping[str, str]
    per_deg2: float
    a_night: float
    deg2: float


@dataclass(frozen=True, eq=False)  # so each is itself only, and can be a key
class Survey:
    """What differs between telescopes. All expressions are Spark SQL over the decoded alert.

    Parameters
    ----------
    name : str
        Name in the configuration.
    topic_suffix : str
        End of the names of users' topics.
    form : {"container", "confluent", "schemaless"}
        How alerts come over the wire: each in an Avro container with its schema, with the id of a schema in a registry, or bare.
    schemas : Path
        Folder of the known writer schemas, one ``<version>.avsc`` each; they say which columns there are before the first alert.
        It may be missing where they come from elsewhere, see `connectors.schemas`.
    alert_id : str
        Column that identifies an alert, a number that is never null; a dotted name reaches into a struct.
    object_id : str
        Expression: what identifies an object in the sky; null for one that has no name.
    position : tuple of str
        Right ascension and declination, J2000, degrees; dotted names reach into a struct.
    time : str
        Expression: time of the exposure, Julian date in days.
    night : str
        Expression: the night of the alert as ``YYYYMMDD``.
    ingest_time : tuple of str
        Published name of the column that says when the broker took an alert in, and its expression of the timestamp `batch_time`: a
        timestamp, or a MJD (UTC).
    checks : mapping
        Reason to the condition that a sound alert meets; an alert that fails one is rejected with that reason.
    quality : mapping
        Name to the condition that an alert must meet to go on to science: SQL that can be counted without Spark too, see `Condition`.
    current, history : str
        The record of this detection and the array of earlier ones: together the light curve.
    light_curve_prefix : str
        Prefix of the light-curve columns (history then current).
    cutouts : tuple of str
        Cutout columns.
    on_tracks : str, optional
        Condition on the alerts among which the nightly merge looks for tracks across one exposure.
    fink_columns : mapping
        The columns that Fink adds, see `FinkColumn`.
    aliases : mapping
        Names that published plug-ins use for what lies elsewhere in the alert, to an expression; for what no module of this broker makes,
        to the null that says that nothing is known.
    tables : tuple of Table
        HBase tables, main table first.
    lookups : Lookups, optional
        Which of them answers what.
    tag : Table, optional
        Table of what a filter has chosen: its name has ``{}`` for the filter's.
    counterparts : Counterparts, optional
        What is matched with the notices of other observatories.
    statistics : Statistics, optional
        What is counted of a night.
    past_columns : mapping
        Columns that past alerts have beside their own, name to expression.
    facts : Facts, optional
        What outlets tell of an alert.
    schema_version : str, optional
        Published name of the column that says which schema an alert was written with: the namespace of its record (``lsst.v10_0``).
    public : str
        Condition on the alerts that everybody may see; empty if all may be seen.
    histories : tuple of str
        Arrays of records to which a rule on alerts applies too, entry by entry (see `transforms.rights`).
    count_topics : str, optional
        Beginning of the names of the topics, one a night, by whose messages readers count its alerts; the night follows.
    """

    name: str
    topic_suffix: str
    schemas: Path
    alert_id: str
    object_id: str
    position: tuple[str, str]
    time: str
    night: str
    ingest_time: tuple[str, str]
    checks: Mapping[str, str]
    quality: Mapping[str, Condition]
    current: str
    history: str
    cutouts: tuple[str, ...]
    form: Literal["container", "confluent", "schemaless"] = "container"
    light_curve_prefix: str = "c"
    on_tracks: str | None = None
    fink_columns: Mapping[str, FinkColumn] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    tables: tuple[Table, ...] = ()
    lookups: Lookups | None = None
    tag: Table | None = None
    counterparts: Counterparts | None = None
    statistics: Statistics | None = None
    past_columns: Mapping[str, str] = field(default_factory=dict)
    facts: Facts | None = None
    schema_version: str | None = None
    public: str = ""
    histories: tuple[str, ...] = ()
    count_topics: str | None = None

    @property
    def cuts(self) -> dict[str, str]:
        """The quality cuts as SQL conditions, by name."""
        return {name: cut.sql for name, cut in self.quality.items()}


def with_cuts(survey: Survey, cuts: Mapping[str, str] | None) -> Survey:
    """The survey with the quality cuts of the configuration, name to SQL; with its own where that has none.

    Raises
    ------
    ConfigError
        One cannot be counted.
    """
    return survey if cuts is None else replace(survey, quality={name: Condition(sql) for name, sql in cuts.items()})


def names() -> list[str]:
    """Names of the surveys that are defined here, each a package."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)


def get(name: str) -> Survey:
    """The definition of a survey.

    Raises
    ------
    ConfigError
        There is no such survey.
    """
    if name not in names():
        raise ConfigError(f"unknown survey '{name}'; known: {', '.join(names())}")
    survey: Survey = importlib.import_module(f"{__name__}.{name}").SURVEY
    return survey
