"""Questions to the science database: one small interface for the command line, notebooks and a REST API. No Spark session.

    from fink_broker import config, query

    settings = config.load()
    with query.Tables(settings) as tables:
        curve = query.light_curve(tables, "ZTF18abc...", ["jd", "fid", "magpsf"]).to_pandas()
    bright = query.sql(settings, "select objectId, candidate.magpsf from science where candidate.magpsf < 14")

Answers are Arrow tables whose columns have their family before their names, as Fink's API gives them: `i:magpsf`, `d:roid`.
What needs `Tables` asks HBase, and takes milliseconds; the rest reads Parquet files.
"""

from fink_broker.query.annotations import annotate, annotations
from fink_broker.query.archive import alerts, sql
from fink_broker.query.cone import cone
from fink_broker.query.crossmatch import crossmatch
from fink_broker.query.cutouts import cutout
from fink_broker.query.named import light_curve, of
from fink_broker.query.names import resolve
from fink_broker.query.pictures import png
from fink_broker.query.tables import Tables

__all__ = [
    "Tables",
    "alerts",
    "annotate",
    "annotations",
    "cone",
    "crossmatch",
    "cutout",
    "light_curve",
    "of",
    "png",
    "resolve",
    "sql",
]
