"""Alerts with the notices of other observatories that they may be counterparts of."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import pandas_udf

from fink_broker.notices.match import FIELDS, Matcher, Sky
from fink_broker.notices.notice import Notice
from fink_broker.surveys import Survey


def message_id(survey: Survey) -> str:
    """Expression of what makes a message one of its own: an alert goes out for each notice, and again when that is refined."""
    return f"concat_ws('_', {survey.alert_id.rpartition('.')[2]}, observatory, triggerId, ackTime)"


def counterparts(alerts: DataFrame, notices: Sequence[Notice], survey: Survey, days: float, level: float) -> DataFrame:
    """Pairs of an alert and a notice, with the topics that they go to.

    Parameters
    ----------
    alerts : DataFrame
        Science alerts.
    notices : sequence of Notice
        Those that are in force.
    survey : Survey
        Which alerts are looked at, what is published of them, and under which conditions; it has `counterparts`.
    days : float
        How long after a trigger an alert may come.
    level : float
        Which credible region of a sky map is looked at.

    Returns
    -------
    DataFrame
        The published columns of the survey, the columns that Fink adds, those of the notice, and `topics` (array of strings): only pairs
        that go to a topic.
    """
    rules = survey.counterparts
    assert rules is not None
    match = Matcher(notices, days, level, Sky(rules.per_deg2, rules.a_night, rules.deg2))

    def found(ra: pd.Series, dec: pd.Series, begins: pd.Series, real: pd.Series, jd: pd.Series) -> pd.Series:
        return match(ra, dec, begins, real, jd)

    # PySpark reads the kind of a pandas UDF from its annotations, which `from __future__` turns into text.
    found.__annotations__ = dict.fromkeys(("ra", "dec", "begins", "real", "jd", "return"), pd.Series)
    kind = f"array<struct<{', '.join(f'{name}: {kind}' for name, kind in FIELDS.items())}>>"
    inputs = [F.expr(text).cast("double") for text in (*survey.position, rules.begins, rules.real, survey.time)]
    matched = alerts.where(rules.where).withColumn("_notices", pandas_udf(found, kind)(*inputs))  # type: ignore[call-overload]
    pairs = matched.where(F.size("_notices") > 0).withColumn("_notice", F.explode("_notices"))
    # A struct of a module comes whole.
    added = {(column.source or name).partition(".")[0] for name, column in survey.fink_columns.items()}
    own = [F.expr(text).alias(name) for name, text in rules.columns.items()]
    others = [F.col(name) for name in alerts.columns if name in added and name not in rules.columns]
    published = pairs.select(*own, *others, *[F.col(f"_notice.{name}").alias(name) for name in FIELDS])
    topics = [F.when(F.expr(condition), F.lit(topic)) for topic, condition in rules.topics.items()]
    return published.withColumn("topics", F.array_compact(F.array(*topics))).where(F.size("topics") > 0)
