"""Columns that hold what two kinds of files hold."""

from __future__ import annotations

from pyspark.sql.types import ArrayType, DataType, DoubleType, FloatType, IntegerType, LongType, MapType, StructField, StructType

from fink_broker.errors import ConfigError

# What Spark's Parquet reader widens by itself: an older file's narrow column is read as the wide one.
_WIDER: dict[tuple[type[DataType], type[DataType]], DataType] = {
    (IntegerType, LongType): LongType(),
    (IntegerType, DoubleType): DoubleType(),
    (FloatType, DoubleType): DoubleType(),
}


def merged(old: StructType, new: StructType) -> StructType:
    """All columns of both, those of `old` first, of the wider type, nullable.

    Raises
    ------
    ConfigError
        Types that do not go together; the message names the column.
    """
    return _struct(old, new, "")


def _struct(old: StructType, new: StructType, path: str) -> StructType:
    names = dict.fromkeys([*old.names, *new.names])
    return StructType([StructField(name, _field(old, new, name, path)) for name in names])


def _field(old: StructType, new: StructType, name: str, path: str) -> DataType:
    if name not in old.names or name not in new.names:
        return (old if name in old.names else new)[name].dataType
    return _type(old[name].dataType, new[name].dataType, f"{path}{name}")


def _type(old: DataType, new: DataType, path: str) -> DataType:
    if isinstance(old, StructType) and isinstance(new, StructType):
        return _struct(old, new, f"{path}.")
    if isinstance(old, ArrayType) and isinstance(new, ArrayType):
        return ArrayType(_type(old.elementType, new.elementType, path))
    if isinstance(old, MapType) and isinstance(new, MapType):
        return MapType(old.keyType, _type(old.valueType, new.valueType, path))
    if old == new:
        return old
    wider = _WIDER.get((type(old), type(new))) or _WIDER.get((type(new), type(old)))
    if wider is None:
        raise ConfigError(f"column {path} was {old.simpleString()} and is {new.simpleString()}: move the folder and its checkpoint away")
    return wider
