"""Messages and rows for the tests of transformations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from fink_broker.services import stream2raw
from fink_broker.surveys import get
from fink_broker.transforms.decode import Codec, decode

SURVEY = get("ztf")
Decode = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="session")
def messages(spark: SparkSession) -> Callable[[Sequence[bytes | None]], DataFrame]:
    """Makes messages, numbered in the column `number`."""

    def make(values: Sequence[bytes | None]) -> DataFrame:
        return spark.createDataFrame(list(enumerate(values)), "number int, value binary")

    return make


@pytest.fixture(scope="session")
def decoded(messages: Callable[[Sequence[bytes | None]], DataFrame]) -> Decode:
    """Decodes messages; the result is in their order."""

    def run(values: Sequence[bytes | None], *, slow: bool = True, codec: Codec | None = None) -> list[dict[str, Any]]:
        codec = codec or stream2raw.codec(SURVEY, 16_000_000, slow=slow)
        rows = [row.asDict(recursive=True) for row in decode(messages(values), codec, SURVEY.checks).collect()]
        return sorted(rows, key=lambda row: row["number"])

    return run
