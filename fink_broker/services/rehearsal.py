"""A small night through the services, so that Java keeps the classes that it has loaded for them.

A virtual machine that maps them from a file (class data sharing, JEP 350) starts Spark in half the time. The set-up runs it once, as its
last step, and so tries what it has installed.
"""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from pyspark import SparkContext

from fink_broker.config import Settings
from fink_broker.config.sections import Kafka, KafkaServer
from fink_broker.infra import kafka, processes
from fink_broker.infra.jars import setup
from fink_broker.services import registry, runner, simulator
from fink_broker.services.context import RunOptions
from fink_broker.session import QUIET, classes

NIGHT = "20260322"
ALERTS = 50
SERVICES = ("stream2raw", "raw2science", "distribution")


def main() -> int:
    """Run the services on a few alerts, and have Java write its classes into a file as it ends."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    archive = classes()
    new = archive.with_suffix(".new")
    archive.unlink(missing_ok=True)
    settings = _settings(setup() / "rehearsal", f'-XX:ArchiveClassesAtExit="{new}" {QUIET}')
    _clear(settings)  # one may have been killed
    try:
        kafka.start(settings)
        simulator.send(settings, NIGHT)
        runner.run(registry.find(SERVICES, settings), settings, RunOptions(once=True, simulator=True))
        _end_java()
    finally:
        _clear(settings)
    new.rename(archive)
    return 0


def _settings(home: Path, options: str) -> Settings:
    settings = Settings(home=home, kafka=Kafka(embedded=KafkaServer(port=0)))
    spark = settings.spark.model_copy(update={"java_options": f"{settings.spark.java_options} {options}"})
    burst = settings.simulator.model_copy(update={"alerts": ALERTS, "cadence_seconds": 0.0})
    return settings.model_copy(update={"spark": spark, "simulator": burst})


def _clear(settings: Settings) -> None:
    processes.stop(settings, kafka.NAME, say=lambda line: None)
    shutil.rmtree(settings.root, ignore_errors=True)


def _end_java() -> None:
    """End Spark's virtual machine and wait: it writes the file last."""
    gateway: Any = SparkContext._gateway
    if gateway is not None:
        gateway.shutdown()
        gateway.proc.stdin.close()
        gateway.proc.wait()


if __name__ == "__main__":
    sys.exit(main())
