"""Fixtures that all tests share: alerts, settings with a temporary HOME, one Spark session, and the real servers."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from datasim import TEMPLATES
from fink_broker.config import CHECKOUT, Settings
from fink_broker.config.sections import HBase, Kafka, KafkaServer
from fink_broker.infra import hbase, kafka, processes
from fink_broker.infra.processes import Running
from fink_broker.session import session


def pytest_addoption(parser: pytest.Parser) -> None:
    """How often tests of faults kill what they test: for more there is no time in a run of all tests."""
    parser.addoption("--kills", type=int, default=1, help="kills in tests of faults (default 1)")


@pytest.fixture(autouse=True)
def temporary_folder() -> Iterator[None]:
    """A worker's place makes its folder that of temporary files, of its process: here that is the process of all tests."""
    variable, folder = os.environ.get("TMPDIR"), tempfile.tempdir
    yield
    tempfile.tempdir = folder
    if variable is not None:
        os.environ["TMPDIR"] = variable
    else:
        os.environ.pop("TMPDIR", None)


@pytest.fixture(scope="session")
def kills(request: pytest.FixtureRequest) -> int:
    """How often to kill."""
    return int(request.config.getoption("kills"))


def pytest_configure() -> None:
    """A run that is ended by SIGTERM stops its servers too, as after Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def templates() -> list[dict[str, Any]]:
    """The real alerts that are part of the project."""
    return pq.read_table(TEMPLATES).to_pylist()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real packets of all schema versions, which are not part of the project."""
    folder = CHECKOUT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real packets of all schema versions: {folder} is missing")
    return folder


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of one HOME for the whole session: a path with a blank, free ports, small servers."""
    home = tmp_path_factory.mktemp("session") / "a home"
    return Settings(home=home, kafka=Kafka(embedded=KafkaServer(port=0)), hbase=HBase(port=0))


@pytest.fixture(scope="session")
def spark(settings: Settings) -> Iterator[SparkSession]:
    """One Spark application for the whole session, as the services start it."""
    started = session(settings, "tests")
    # In place of PySpark's: it asks the JVM, which Ctrl-C has ended too, and the run would go on without Spark.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield started
    started.stop()


@pytest.fixture(scope="session")
def kafka_server(settings: Settings) -> Iterator[Running]:
    """The real Kafka; its address is in the result."""
    yield kafka.start(settings)
    processes.stop(settings, kafka.NAME, say=lambda line: None)


@pytest.fixture(scope="session")
def hbase_server(settings: Settings) -> Iterator[Running]:
    """The real HBase with its Thrift server; the Thrift address is in the result."""
    yield hbase.start(settings)
    processes.stop(settings, hbase.NAME, say=lambda line: None)
