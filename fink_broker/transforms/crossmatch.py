"""Alerts with the row of a table that they belong to: the nearest in the sky, or the one with the object's name."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import pandas_udf

from fink_broker.surveys import Survey

MATCH = "_match"
"""Column that holds the row of the table as a record."""
ROW = "_row"
"""Column of a table: the number of its row, as the catalogue of its positions has it."""
SEPARATION = "separation_arcsec"


def nearest(alerts: DataFrame, survey: Survey, table: DataFrame, folder: Path, radius: float) -> DataFrame:
    """The alerts that have a row of a table closer than a radius, with the nearest as `MATCH`.

    Parameters
    ----------
    alerts : DataFrame
        Alerts.
    survey : Survey
        Says where their positions are.
    table : DataFrame
        `ROW` and what else there is to know.
    folder : Path
        Catalogue of the table's positions with `ROW`, as `catalogues.store.keep` keeps it; workers map it.
    radius : float
        Arcsec.

    Returns
    -------
    DataFrame
        With `MATCH`: the table's columns and `SEPARATION`, arcsec.
    """
    place = str(folder)

    def found(ra: pd.Series, dec: pd.Series) -> pd.DataFrame:
        from fink_broker.catalogues import store

        catalogue = store.mapped(Path(place))
        rows, separation = catalogue.nearest(ra, dec, radius)
        # Names without separation: an alert without a match is left out.
        return pd.DataFrame({ROW: catalogue.column(ROW, rows, None), SEPARATION: separation}, index=ra.index).astype({ROW: "Int64"})

    # PySpark reads the kind of a pandas UDF from its annotations, which `from __future__` turns into text.
    found.__annotations__ = {"ra": pd.Series, "dec": pd.Series, "return": pd.DataFrame}
    search = pandas_udf(found, f"{ROW} long, {SEPARATION} double").asNondeterministic()  # type: ignore[call-overload]
    hits = alerts.withColumn("_hit", search(*[F.expr(one).cast("double") for one in survey.position])).where(f"_hit.{ROW} is not null")
    joined = hits.join(F.broadcast(table), F.col(f"_hit.{ROW}") == table[ROW])
    return _with_match(joined, alerts, table.drop(ROW), F.col(f"_hit.{SEPARATION}").alias(SEPARATION))


def by_name(alerts: DataFrame, survey: Survey, table: DataFrame, column: str) -> DataFrame:
    """The alerts of objects that a table names, with their row as `MATCH`; of rows with one name any.

    Parameters
    ----------
    alerts : DataFrame
        Alerts.
    survey : Survey
        Says what identifies an object.
    table : DataFrame
        Its rows.
    column : str
        Column with the names.
    """
    names = table.withColumn("_name", F.trim(F.col(f"`{column}`").cast("string"))).dropDuplicates(["_name"])
    joined = alerts.join(F.broadcast(names), F.expr(survey.object_id).cast("string") == F.col("_name"))
    return _with_match(joined, alerts, table)


def _with_match(joined: DataFrame, alerts: DataFrame, table: DataFrame, *more: Column) -> DataFrame:
    return joined.select(*[alerts[name] for name in alerts.columns], F.struct(*[table[name] for name in table.columns], *more).alias(MATCH))
