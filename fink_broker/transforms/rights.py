"""Data rights: which alerts an audience may see, and what of their history.

An audience's rule is a condition on the alert. An entry of a history is held to the same rule, as if it were the current detection: where
the rule says ``candidate.programid``, the entry's own `programid` is meant. What the rule does not hold for, or is not known to hold for,
is not handed on: an alert with its cutouts, or an entry.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, BooleanType, StructType

from fink_broker.config import Settings
from fink_broker.errors import ConfigError
from fink_broker.filters import Filter
from fink_broker.surveys import Survey

PUBLIC = "public"


@dataclass(frozen=True)
class Audience:
    """Who reads alerts under one rule.

    Parameters
    ----------
    name : str
        Name in the configuration; `PUBLIC` for everybody.
    rule : str
        SQL condition on the alert; empty if they may see every alert.
    topics : mapping, optional
        Topic of a filter to its name for this audience, for the filters that it gets; all of them under their own names without.
    """

    name: str = PUBLIC
    rule: str = ""
    topics: Mapping[str, str] | None = None

    def granted(self, alerts: DataFrame) -> Column:
        """The topics (array of strings) on which the audience gets an alert; null for one that it may not see."""
        topics = F.col("topics")
        if self.topics is not None:
            known = F.create_map(*[F.lit(text) for pair in self.topics.items() for text in pair]).cast("map<string,string>")
            topics = F.array_compact(F.transform(topics, lambda topic: known[topic]))
        return F.when(self.sees(alerts), topics) if self.rule else topics

    def sees(self, alerts: DataFrame) -> Column:
        """Whether the audience may see an alert.

        Raises
        ------
        ConfigError
            The rule is no condition on an alert.
        """
        if not self.rule:
            return F.lit(True)
        try:
            [field] = alerts.select(F.expr(self.rule)).schema.fields
        except AnalysisException as error:
            why = str(error).strip().splitlines()[0][:200]
            raise ConfigError(f"the rule of the audience '{self.name}' is not SQL on an alert: {why}") from error
        if not isinstance(field.dataType, BooleanType):
            raise ConfigError(f"the rule of the audience '{self.name}' is not a condition: its type is {field.dataType.simpleString()}")
        return F.coalesce(F.expr(self.rule), F.lit(False))

    def history(self, name: str, alerts: DataFrame, survey: Survey) -> Column:
        """A history (array of records) without the entries that the audience may not see.

        A field that the entries do not have is null in them.
        """
        if not self.rule:
            return F.col(name)
        # The lambda's variable is called as the current detection and hides it: the rule means the entry.
        current, rule = survey.current, f"{survey.current} -> coalesce({self.rule}, false)"
        kinds, entry = alerts.schema[current].dataType, alerts.schema[name].dataType
        assert isinstance(entry, ArrayType)
        assert isinstance(kinds, StructType)
        assert isinstance(entry.elementType, StructType)
        there = entry.elementType.names
        fields = [one for one in dict.fromkeys(re.findall(rf"\b{current}\.`?(\w+)", self.rule)) if one in kinds.names]
        if all(field in there for field in fields):
            return F.expr(f"filter({name}, {rule})").alias(name)
        values = [f"entry.{one}" if one in there else f"cast(null as {kinds[one].dataType.simpleString()})" for one in fields]
        filled = "named_struct({})".format(", ".join(f"'{one}', {value}" for one, value in zip(fields, values, strict=True)))
        return F.expr(f"filter({name}, entry -> exists(array({filled}), {rule}))").alias(name)


EVERYBODY = (Audience(),)


def everybody(settings: Settings, survey: Survey) -> Audience:
    """The public: its rule is the configuration's, else the survey's."""
    return Audience(PUBLIC, survey.public if settings.distribution.public is None else settings.distribution.public)


def audiences(settings: Settings, survey: Survey, filters: Sequence[Filter]) -> list[Audience]:
    """The audiences of the configuration, the public first.

    Parameters
    ----------
    settings : Settings
        ``[distribution] public`` and ``[[audiences]]``.
    survey : Survey
        Its rule for the public, where the configuration says none.
    filters : sequence of Filter
        All that run.

    Raises
    ------
    ConfigError
        Two topics would have the same name.
    """
    names = {one.name: one.topic(survey) for one in filters}
    # A filter that only an audience names is not for the public.
    others = {name for one in settings.audiences for name in one.filters} - {*settings.distribution.filters}
    public = {topic: topic for name, topic in names.items() if name not in others}
    found = [replace(everybody(settings, survey), topics=None if len(public) == len(names) else public)]
    for one in settings.audiences:
        if one.name == PUBLIC:
            raise ConfigError(f"an audience cannot be called {PUBLIC}: its rule is [distribution] public")
        # One that is switched off is not among them.
        chosen = [name for name in one.filters if name in names] if one.filters else [name for name in names if name not in others]
        topics = {names[name]: f"fink_{name}_{one.name}_{survey.topic_suffix}" for name in chosen}
        found.append(Audience(one.name, one.rule, topics))
    _check([*public, *(topic for one in found[1:] for topic in (one.topics or {}).values())], survey)
    return found


def topics(one: Audience, filters: Sequence[Filter], survey: Survey) -> list[str]:
    """The topics of an audience, one a filter."""
    return [one.topic(survey) for one in filters] if one.topics is None else list(one.topics.values())


def readable(audiences: Sequence[Audience], filters: Sequence[Filter], survey: Survey) -> dict[str, list[str]]:
    """What each audience may read: its topics, and everybody those that count alerts; ``*`` stands for the rest of their names."""
    found = {one.name: topics(one, filters, survey) for one in audiences}
    return found | {PUBLIC: [*found[PUBLIC], *([f"{survey.count_topics}*"] if survey.count_topics else [])]}


def _check(names: Sequence[str], survey: Survey) -> None:
    """Nobody gets another's alerts because two topics are called the same, or one as those that count."""
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two filters or audiences would share the topic {name}: rename one of them")
        if survey.count_topics and name.startswith(survey.count_topics):
            raise ConfigError(f"the topic {name} would be taken for one that counts alerts: rename the filter")
