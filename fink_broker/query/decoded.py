"""Rows of HBase as a table of values."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

# Types as schema rows name them: Arrow's type, and numpy's of the bytes (HBase's `Bytes` is big-endian).
_NUMBERS: dict[str, tuple[Any, str]] = {
    "integer": (pa.int32(), ">i4"),
    "long": (pa.int64(), ">i8"),
    "float": (pa.float32(), ">f4"),
    "double": (pa.float64(), ">f8"),
}
_ROW_KEY = "rowkey"


def decoded(rows: Sequence[tuple[bytes, Mapping[bytes, bytes]]], kinds: Mapping[str, str]) -> pa.Table:
    """Cells as values.

    Parameters
    ----------
    rows : sequence of (key, cells)
        As HBase gives them.
    kinds : mapping
        ``family:name`` to its type in the schema row; what it does not name is left out.

    Returns
    -------
    pyarrow.Table
        `rowkey`, and the columns that any row has a cell of, in the order of `kinds`; no cell is null.
    """
    present = {column for _, cells in rows for column in cells}
    columns: dict[str, Any] = {_ROW_KEY: pa.array([key.decode() for key, _ in rows], pa.string())}
    for column, kind in kinds.items():
        name = column.encode()
        if name in present:
            columns[column] = _column([cells.get(name) for _, cells in rows], kind)
    return pa.table(columns)


def arrow_type(kind: str) -> Any:
    """Arrow's type of what a schema row calls so."""
    return _NUMBERS[kind][0] if kind in _NUMBERS else pa.bool_() if kind == "boolean" else pa.string()


def _column(cells: Sequence[bytes | None], kind: str) -> pa.Array[Any]:
    if kind not in _NUMBERS:
        if kind == "boolean":
            return pa.array([None if cell is None else cell == b"true" for cell in cells], pa.bool_())
        return pa.array([None if cell is None else cell.decode() for cell in cells], pa.string())
    arrow, order = _NUMBERS[kind]
    width = int(order[-1])
    if None not in cells:
        filled = b"".join(cells)  # type: ignore[arg-type]
        # Those of another width are all wider, or all narrower.
        if len(filled) == width * len(cells):
            whole: pa.Array[Any] = pa.array(np.frombuffer(filled, order).astype(order[1:]), arrow)
            return whole
    if any(cell is not None and len(cell) != width for cell in cells):
        return _mixed(cells, arrow, order[1])
    missing = np.fromiter((cell is None for cell in cells), bool, len(cells))
    filled = b"".join(bytes(width) if cell is None else cell for cell in cells)
    numbers: pa.Array[Any] = pa.array(np.frombuffer(filled, order).astype(order[1:]), arrow, mask=missing)
    return numbers


def _mixed(cells: Sequence[bytes | None], arrow: Any, kind: str) -> pa.Array[Any]:
    """Cells from before and after a column was widened: each says by its length what it is."""
    wide = {pa.int32(): pa.int64(), pa.float32(): pa.float64()}.get(arrow, arrow)
    formats = {4: {"i": ">i", "f": ">f"}[kind], 8: {"i": ">q", "f": ">d"}[kind]}
    return pa.array([None if cell is None else struct.unpack(formats[len(cell)], cell)[0] for cell in cells], wide)
