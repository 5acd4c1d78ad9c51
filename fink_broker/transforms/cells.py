"""Cells of HBase: numbers as its `Bytes` writes them, big-endian; all else as text in UTF-8. Used in executors."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

_BIG_ENDIAN = {pa.int32(): ">i4", pa.int64(): ">i8", pa.float32(): ">f4", pa.float64(): ">f8"}
_FORMATS = {"integer": ">i", "long": ">q", "float": ">f", "double": ">d"}


def encode(values: pa.Array[Any]) -> list[bytes | None]:
    """Cells of one column.

    Parameters
    ----------
    values : Array of int32, int64, float32, float64 or string
        Values; null is no cell.

    Returns
    -------
    list of bytes or None
        4 or 8 bytes a number, UTF-8 for text.
    """
    order = _BIG_ENDIAN.get(values.type)
    if order is None:
        return values.cast(pa.binary()).to_pylist()
    width = int(order[-1])
    filled = values.fill_null(0) if values.null_count else values
    numbers = filled.to_numpy(zero_copy_only=False).astype(order).tobytes()
    cells: list[bytes | None] = [numbers[start : start + width] for start in range(0, len(numbers), width)]
    if values.null_count:
        return [cell if there else None for cell, there in zip(cells, values.is_valid().to_pylist(), strict=True)]
    return cells


def decode(cells: Mapping[bytes, bytes], schema: Mapping[bytes, bytes]) -> dict[str, Any]:
    """A row as Python values, by the schema row of its table.

    Parameters
    ----------
    cells : mapping
        ``family:name`` to the bytes of the cell.
    schema : mapping
        The same columns of the row whose key begins with ``schema_``: the type of each.

    Raises
    ------
    KeyError
        The schema row does not name a column.
    """
    return {column.decode(): _value(cell, schema[column].decode()) for column, cell in cells.items()}


def _value(cell: bytes, kind: str) -> Any:
    if kind in _FORMATS:
        return struct.unpack(_FORMATS[kind], cell)[0]
    return cell == b"true" if kind == "boolean" else cell.decode()
