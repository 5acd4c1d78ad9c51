"""The Spark session of a broker's application."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen
from typing import Any
from unittest import mock

from pyspark import java_gateway
from pyspark.logger import PySparkLogger
from pyspark.sql import SparkSession

from fink_broker.config import CHECKOUT, Settings, without_secrets
from fink_broker.connectors.security import REDACTED
from fink_broker.infra import environments, jars

# Avro's own settings, on driver and executors: a corrupt array count must not take the JVM's memory; the faster of its two readers
# decodes an alert in two thirds of the time.
_AVRO = {
    "org.apache.avro.fastread": "true",
    "org.apache.avro.limits.bytes.maxLength": 64_000_000,
    "org.apache.avro.limits.string.maxLength": 1_000_000,
    "org.apache.avro.limits.collectionItems.maxLength": 100_000,
}


# What Java says of classes that it does not keep, or of a file of them that does not fit.
QUIET = "-Xlog:cds=off -Xlog:cds+dynamic=off"


def session(settings: Settings, name: str) -> SparkSession:
    """Start the Spark application.

    Parameters
    ----------
    settings : Settings
        Master, memory, Java options and any further Spark setting.
    name : str
        Name of the application; its log is ``HOME/log/<name>.log``.

    Returns
    -------
    SparkSession
        With Kafka and Avro on its class path. What Spark and the Python workers log goes to the log file.
    """
    # Heeded by Spark's Python workers; `spark.pyspark.python` alone is not without spark-submit.
    environment = settings.science_section.environment
    os.environ["PYSPARK_PYTHON"] = str(environments.python(settings, environment)) if environment else sys.executable
    # Workers import the broker's modules too, wherever they are started.
    path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([str(CHECKOUT), *(path.split(os.pathsep) if path else [])]))
    log = settings.log(name)
    log.parent.mkdir(parents=True, exist_ok=True)
    builder = SparkSession.builder.appName(f"fink {name}")
    for key, value in _conf(settings, log).items():
        builder = builder.config(key, value)
    # They print the stack of every analysis error as JSON: what a user needs to know of it is said in one line.
    for chatty in ("DataFrameQueryContextLogger", "SQLQueryContextLogger"):
        PySparkLogger.getLogger(chatty).disabled = True
    logging.getLogger().addFilter(_no_news)
    warnings.filterwarnings("ignore", "Unable to cleanly shutdown Spark JVM")  # nor is this, which follows
    with _own_session_and_log(log):
        return builder.getOrCreate()


def _no_news(record: logging.LogRecord) -> bool:
    """Ctrl-C is no error, but py4j logs where it was caught by it."""
    return not (record.exc_info and record.exc_info[0] is KeyboardInterrupt)


def classes() -> Path:
    """Where Java keeps the classes that Spark's start loads, see `services/rehearsal.py`."""
    return jars.setup() / "classes.jsa"


def _conf(settings: Settings, log: Path) -> dict[str, str]:
    avro = " ".join(f"-D{key}={value}" for key, value in _AVRO.items())
    log4j = CHECKOUT / "conf" / "log4j2.properties"
    options = f'{settings.spark.java_options} {avro} -Dfink.log="{log}" -Dlog4j2.configurationFile="{log4j}"'
    if classes().exists():
        # Java goes without it, in silence, where it does not fit: another Java, jars, or a class path that begins with another folder.
        options += f' -XX:SharedArchiveFile="{classes()}" {QUIET}'
    local = settings.spark.master.startswith("local")
    spark_jars = sorted(str(jar) for jar in jars.folder("spark").glob("*.jar"))
    conf = {
        "spark.master": settings.spark.master,
        "spark.driver.memory": settings.spark.driver_memory,
        "spark.driver.extraJavaOptions": options,
        "spark.executor.extraJavaOptions": f"{settings.spark.java_options} {avro}",
        "spark.driver.extraClassPath": f"{jars.folder('spark')}/*",
        # Queries that name a pool get their share beside the others; without, the jobs of a backlog would go before those of new alerts.
        "spark.scheduler.mode": "FAIR",
        "spark.sql.session.timeZone": "UTC",
        # A division by zero in somebody's filter is null: as an error it would end the query, and again at every start.
        "spark.sql.ansi.enabled": "false",
        "spark.sql.shuffle.partitions": str(settings.spark.shuffle_partitions),
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        # Alerts are large: a few hundred of them are a batch for Arrow; of larger ones, fewer: it holds no more than 2 GB.
        "spark.sql.execution.arrow.maxRecordsPerBatch": "1000",
        # And 4,096 of them, Spark's default, are 270 MB that a reader of Parquet holds at once.
        "spark.sql.parquet.columnarReaderBatchSize": "256",
        "spark.sql.execution.arrow.maxBytesPerBatch": "64m",
        # Write the few partitions of a batch side by side instead of sorting whole alerts by partition.
        "spark.sql.maxConcurrentOutputFileWriters": "64",
        "spark.sql.streaming.stateStore.providerClass": "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider",
        # A whole alert in one generated method: beyond 100 fields, the default, Spark would copy it from step to step.
        "spark.sql.codegen.maxFields": "10000",
        "spark.sql.parquet.compression.codec": "snappy",
        # Parquet holds a row group in memory, and looks at its size only after 100 rows: of large messages that is more than there is.
        # Few values of an alert come again: without dictionaries a file is half a percent larger, and its writing costs a fifth less.
        # Here, because what a stream's writer is given as options does not reach Parquet.
        "spark.hadoop.parquet.block.size": str(32 * 1024 * 1024),
        "spark.hadoop.parquet.page.size.row.check.min": "4",
        "spark.hadoop.parquet.enable.dictionary": "false",
        "spark.ui.enabled": "false",
        # No password in Spark's pages, its log or its event log.
        "spark.redaction.regex": REDACTED,
        "spark.sql.redaction.options.regex": REDACTED,
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.warehouse.dir": str(settings.root / "spark-warehouse"),
        "spark.local.dir": str(settings.root / "tmp"),
        # Science modules find their catalogues by it.
        "spark.executorEnv.FINK__HOME": str(settings.root),
    }
    if local:
        # One machine: nothing of the application listens to the network.
        conf |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    else:
        conf["spark.jars"] = ",".join(spark_jars)
    return conf | settings.spark.conf


@contextlib.contextmanager
def _own_session_and_log(log: Path) -> Iterator[None]:
    """The JVM, started meanwhile, gets a session of its own and the log as its standard error.

    A signal to the process group, of a terminal or a service manager, would end it in the middle of a batch. It, and with it the Python
    workers, go without the passwords in our environment: they get what they need with their tasks.
    """
    begun: list[Popen[bytes]] = []
    with log.open("ab") as file:

        def start(command: list[str], *, env: dict[str, str], **options: Any) -> Popen[bytes]:
            begun.append(Popen(command, start_new_session=True, stderr=file, env=without_secrets(env), **options))
            return begun[-1]

        # PySpark's own handler of Ctrl-C asks Java to cancel all jobs, over the connection on which an answer is being waited for.
        with mock.patch.object(java_gateway, "Popen", start), mock.patch.object(signal, "signal"):
            try:
                yield
            except BaseException:
                # Interrupted before it was connected, it would wait for ever.
                for one in begun:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(one.pid, signal.SIGKILL)
                raise
