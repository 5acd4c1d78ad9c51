"""Science alerts of real size, made from the templates, with the values of science modules that the published filters look at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

from datasim import TEMPLATES, night
from datasim.packet import container, writer_schema
from fink_broker.services import stream2raw
from fink_broker.services.known import Known
from fink_broker.services.simulator import templates
from fink_broker.surveys import Survey
from fink_broker.transforms.provenance import with_versions
from fink_broker.transforms.science import with_science

NIGHT = "20260322"
_PIECE = 500

# Shares as in Fink's own nights, roughly: most alerts are of variable stars or have no counterpart.
_VALUES = {
    "cdsxmatch": "element_at(array('Unknown', 'Star', 'RRLyr', 'EB*', 'Galaxy', 'QSO', 'YSO', 'BLLac'), 1 + pmod(hash(candid), 8))",
    "roid": "element_at(array(0, 0, 0, 0, 2, 3, 0, 0), 1 + pmod(hash(candid, 1), 8))",
    "rf_snia_vs_nonia": "pmod(hash(candid, 2), 1000) / 1000D",
    "snn_snia_vs_nonia": "pmod(hash(candid, 3), 1000) / 1000D",
    "snn_sn_vs_all": "pmod(hash(candid, 4), 1000) / 1000D",
    "mulens": "if(pmod(hash(candid, 5), 200) = 0, 1D, 0D)",
    "rf_kn_vs_nonkn": "pmod(hash(candid, 6), 1000) / 1000D",
    "lc_features_r": "named_struct('linear_fit_slope', pmod(hash(candid, 7), 100) / 1000D)",
}


def science(spark: SparkSession, survey: Survey, count: int) -> DataFrame:
    """So many science alerts, on one partition a piece of some hundred."""
    codec = Known(survey, form="container").codec(16_000_000)
    schema = writer_schema("4.02")
    packets = [container(record, schema) for record in night.alerts(templates(TEMPLATES), count, NIGHT)]
    messages = (
        spark.sparkContext.parallelize(list(enumerate(packets)), max(1, count // _PIECE))
        .toDF("offset long, value binary")
        .selectExpr("value", "'t' as topic", "0 as partition", "offset", "now() as kafkaTimestamp")
    )
    sound = stream2raw.build(messages, survey, codec).where(f"status = '{stream2raw.OK}'")
    kept = sound.drop("status", "reason", "value", "topic", "partition", "offset", "kafkaTimestamp", "record")
    alerts = with_versions(with_science(kept, [], survey), "bench")
    return alerts.selectExpr(
        *[f"{_VALUES[name]} as {name}" if name in _VALUES else f"`{name}`" for name in alerts.columns], *_further(alerts)
    )


def _further(alerts: DataFrame) -> list[str]:
    return [f"{sql} as {name}" for name, sql in _VALUES.items() if name not in alerts.columns]


def written(alerts: DataFrame, folder: Path, say: Callable[[str], None]) -> None:
    """Write them as raw2science does."""
    say("science alerts")
    alerts.write.parquet(str(folder))
