"""Fixtures of nights: a home, and the sinks of its raw and science folders."""

from pathlib import Path

import pytest

from fink_broker.config import Settings
from tests.services.nights import Sink


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "a home")


@pytest.fixture
def raw(spark, home, tmp_path) -> Sink:
    return Sink(spark, home.raw, tmp_path / "raw", ["status", "night"])


@pytest.fixture
def science(spark, home, tmp_path) -> Sink:
    return Sink(spark, home.science, tmp_path / "science", ["night"])
