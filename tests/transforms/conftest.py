"""Messages and rows for the tests of transformations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from fink_broker.surveys import get
from fink_broker.transforms.decode import decode
from fink_broker.transforms.framing import Codec
from tests import known

SURVEY = get("ztf")
Decode = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="session")
def messages(spark: SparkSession) -> Callable[[Sequence[bytes | None]], DataFrame]:
    """Makes messages, numbered in the columns `number` and `offset`."""

    def make(values: Sequence[bytes | None]) -> DataFrame:
        numbered = spark.createDataFrame(list(enumerate(values)), "number int, value binary")
        return numbered.selectExpr("value", "number", "'t' as topic", "0 as partition", "cast(number as bigint) as offset")

    return make


@pytest.fixture(scope="session")
def decoded(messages: Callable[[Sequence[bytes | None]], DataFrame]) -> Decode:
    """Decodes messages; the result is in their order."""

    def run(values: Sequence[bytes | None], *, slow: bool = True, codec: Codec | None = None) -> list[dict[str, Any]]:
        codec = codec or known.codec(slow=slow)
        rows = [row.asDict(recursive=True) for row in decode(messages(values), codec, SURVEY.checks).collect()]
        return sorted(rows, key=lambda row: row["number"])

    return run
