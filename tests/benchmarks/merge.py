"""The nightly merge of alerts of real size, raw and science: CPU seconds beyond the start, and memory for a small and a large night."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fink_broker import surveys
from fink_broker.commands.bench import Figure, Report
from fink_broker.commands.config import toml
from fink_broker.commands.progress import Progress
from fink_broker.config import Settings
from fink_broker.config.sections import Spark
from fink_broker.connectors import archive, parquet
from fink_broker.errors import FinkError
from fink_broker.services.merge import KINDS
from fink_broker.services.stream2raw import PARTITIONS
from fink_broker.session import session
from tests.benchmarks import _alerts
from tests.benchmarks._measure import lines as measured
from tests.benchmarks._services import watched

ALERTS = 20_000
_SHARE = 4  # the small night is so much smaller
_NIGHTS = ("20260322", "20260323")


def run(settings: Settings, alerts: int | None = None) -> Report:
    """Measure.

    Parameters
    ----------
    settings : Settings
        The archive's file size; Spark is that of `fink merge`.
    alerts : int, optional
        How many alerts the large night has.
    """
    small = max(1, (alerts or ALERTS) // _SHARE)
    counts = (small, small * _SHARE)
    settings.root.mkdir(parents=True, exist_ok=True)
    progress = Progress(sys.stderr)
    with tempfile.TemporaryDirectory(dir=settings.root) as folder:
        here = settings.model_copy(update={"home": Path(folder), "spark": settings.spark.model_copy(update={"master": Spark().master})})
        with progress.step("two nights") as say:
            _write(here, small, say)
        taken = []
        for night, count in zip(_NIGHTS, counts, strict=True):
            with progress.step(f"merge of {count:,} alerts"):
                taken.append(_merge(here, night, count))
    (cpu_small, peak_small), (cpu_large, peak_large) = taken
    beyond = 1_000 * (cpu_large - cpu_small) / (counts[1] - counts[0])
    figures = [
        Figure("merge, raw and science, beyond the start", round(beyond, 2), "CPU s per 1,000 alerts", 1.0, at_most=True),
        Figure(f"merge of {counts[0]:,}", round(cpu_small, 1), "CPU s"),
        Figure(f"merge of {counts[1]:,}", round(cpu_large, 1), "CPU s"),
        Figure(f"merge of {counts[0]:,}, peak memory", round(peak_small), "MB"),
        # The heap (driver_memory), what Java has beside it, and Python: of any night.
        Figure(f"merge of {counts[1]:,}, peak memory", round(peak_large), "MB", 3_000, at_most=True),
    ]
    return Report(figures, "\n".join(measured(figures)))


def _write(settings: Settings, small: int, say: object) -> None:
    """A small night and a large one, in raw and science, as the services write them."""
    survey = surveys.get("ztf")
    spark = session(settings, "bench")
    try:
        made, source = settings.root / "made", settings.root / "source"
        _alerts.written(_alerts.science(spark, survey, small), made, say)  # type: ignore[arg-type]
        alerts = spark.read.parquet(str(made))
        for copy in range(1 + _SHARE):
            night = _NIGHTS[min(copy, 1)]
            moved = F.col("candidate").withField("ra", F.expr(f"pmod(candidate.ra + {copy * 17.3}D, 360)"))
            changed = {"candid": F.expr(f"candid + {copy}"), "candidate": moved, "night": F.lit(night), "status": F.lit("ok")}
            alerts.withColumns(changed).write.mode("append").parquet(str(source))
        rows = spark.readStream.schema(spark.read.parquet(str(source)).schema).option("maxFilesPerTrigger", 20).parquet(str(source))
        _sink(rows, settings.raw, settings.checkpoint("stream2raw"), PARTITIONS)
        _sink(rows.drop("status"), settings.science, settings.checkpoint("raw2science"), ["night"])
    finally:
        spark.stop()


def _sink(rows: DataFrame, folder: Path, checkpoint: Path, partitions: object) -> None:
    parquet.sink(rows, folder, checkpoint, partitions).trigger(availableNow=True).start().awaitTermination()  # type: ignore[arg-type]


def _merge(settings: Settings, night: str, count: int) -> tuple[float, float]:
    """CPU seconds and peak memory (MB) of the command's process tree."""
    conf = settings.root / "fink.conf"
    conf.write_text(toml(settings.model_dump(mode="json", exclude_defaults=True)), encoding="utf-8")
    taken = watched("merge", "--night", night, "--json", conf=conf)
    found = [archive.night(settings, kind, night).note.rows for kind in KINDS]
    if found != [count, count]:
        raise FinkError(f"bench merge: of {count} alerts {found} were merged; log: {settings.log('merge')}")
    return taken.cpu_s, taken.peak_mb
