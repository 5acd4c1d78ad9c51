"""Columns that hold what two kinds of files hold."""

from __future__ import annotations

import pytest
from pyspark.sql.types import ArrayType, IntegerType, LongType, MapType, StringType, StructType

from fink_broker.connectors.widening import merged
from fink_broker.errors import ConfigError

X, WIDE = StructType().add("x", IntegerType()), StructType().add("x", LongType())
MORE = StructType().add("x", IntegerType()).add("y", StringType())


def columns(array: StructType, values: StructType) -> StructType:
    return StructType().add("a", ArrayType(array)).add("m", MapType(StringType(), values))


def test_structs_in_arrays_and_maps_take_in_further_fields_and_wider_types():
    old, new = columns(X, X), columns(WIDE, MORE)
    assert merged(old, new) == merged(new, old) == new


def test_types_that_do_not_go_together_are_named():
    with pytest.raises(ConfigError, match=r"column m\.x was int and is string"):
        merged(columns(X, X), columns(X, StructType().add("x", StringType())))
