"""Questions to the science database: one small interface for the command line, notebooks and a REST API. No Spark.

    from fink_broker import config, query

    with query.Tables(config.load()) as tables:
        curve = query.light_curve(tables, "ZTF18abc...", ["jd", "fid", "magpsf"]).to_pandas()

Answers are Arrow tables whose columns have their family before their names, as Fink's API gives them: `i:magpsf`, `d:roid`.
"""

from fink_broker.query.cone import cone
from fink_broker.query.named import light_curve, of
from fink_broker.query.tables import Tables

__all__ = ["Tables", "cone", "light_curve", "of"]
