"""Fixtures that all tests share: settings with a temporary HOME, and the real servers in it."""

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from fink_broker.config import HBase, Kafka, KafkaServer, Settings
from fink_broker.infra import hbase, kafka, processes
from fink_broker.infra.processes import Running
from fink_broker.session import session


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of one HOME for the whole session: a path with a blank, free ports, small servers."""
    home = tmp_path_factory.mktemp("session") / "a home"
    return Settings(home=home, kafka=Kafka(embedded=KafkaServer(port=0)), hbase=HBase(port=0))


@pytest.fixture(scope="session")
def spark(settings: Settings) -> Iterator[SparkSession]:
    """One Spark application for the whole session, as the services start it."""
    started = session(settings, "tests")
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
