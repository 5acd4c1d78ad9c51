"""An answer as a table to look at, or as a file for other programs."""

from __future__ import annotations

import base64
import io
import json
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq


def text(rows: pa.Table, width: int = 0) -> str:
    """Columns side by side, as many as go into a width; below them, how many do not.

    Parameters
    ----------
    rows : pyarrow.Table
        An answer.
    width : int
        Characters of a line; 0 for all columns.
    """
    columns = [_padded([name, *_texts(rows[name])], right=_is_number(rows[name].type)) for name in rows.column_names]
    shown = len(columns)
    if width:
        ends = np.cumsum([len(column[0]) + 2 for column in columns]) - 2
        shown = max(1, int(np.searchsorted(ends, width, side="right")))
    lines = ["  ".join(cells).rstrip() for cells in zip(*columns[:shown], strict=True)]
    if shown < len(columns):
        lines.append(f"... and {len(columns) - shown} more columns: --columns says which, --format csv gives all")
    return "\n".join(lines) + "\n"


def encoded(rows: pa.Table, form: str) -> bytes:
    """An answer as the bytes of a file: one of `FORMATS`."""
    return FORMATS[form](rows)


def _csv(rows: pa.Table) -> bytes:
    out = io.BytesIO()
    pyarrow.csv.write_csv(_flat(rows), out)
    return out.getvalue()


def _parquet(rows: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(rows, out)
    return out.getvalue()


def _json(rows: pa.Table) -> bytes:
    columns = _plain_columns(rows)
    records = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return (json.dumps(records, default=_other, allow_nan=False, ensure_ascii=False) + "\n").encode()


def _votable(rows: pa.Table) -> bytes:
    # Half a second that only those who want a VOTable pay.
    import pandas as pd
    from astropy.io.votable.exceptions import VOWarning
    from astropy.table import Table

    kinds: dict[pa.DataType, Any] = {pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    flat, out = _flat(rows), io.BytesIO()
    for place, name in enumerate(flat.column_names):
        # VOTable's texts are never null, and astropy does not know what a column without any is.
        if pa.types.is_string(flat[name].type) and flat[name].null_count == len(flat):
            flat = flat.set_column(place, name, flat[name].fill_null(pa.scalar("")))
    with warnings.catch_warnings():
        # A column's name is not its ID, which has no colon.
        warnings.simplefilter("ignore", VOWarning)
        Table.from_pandas(flat.to_pandas(types_mapper=kinds.get)).write(out, format="votable")
    return out.getvalue()


def _texts(column: pa.ChunkedArray[Any]) -> list[str]:
    return ["" if value is None else value if isinstance(value, str) else json.dumps(value, default=_other) for value in _plain(column)]


def _plain_columns(rows: pa.Table) -> dict[str, list[Any]]:
    """Values of all columns as JSON has them; those of one kind at once, because few rows of many columns are what is asked for most."""
    types = dict(zip(rows.column_names, rows.schema.types, strict=True))
    found: dict[str, list[Any]] = {name: _plain(rows[name]) for name, kind in types.items() if not pa.types.is_floating(kind)}
    for kind in (pa.float32(), pa.float64()):
        some = [name for name, one in types.items() if one == kind]
        values = _plain(pa.chunked_array([chunk for name in some for chunk in rows[name].chunks], kind))
        found |= {name: values[place * len(rows) : (place + 1) * len(rows)] for place, name in enumerate(some)}
    return {name: found[name] for name in types}


def _plain(column: pa.ChunkedArray[Any]) -> list[Any]:
    """Values as JSON has them: no number is null, and a float is the shortest text that is this number in its precision."""
    if pa.types.is_floating(column.type):
        # Arrow writes such texts too.
        shortest = pc.cast(pc.cast(column, pa.string()), pa.float64()) if column.type == pa.float32() else column
        finite: list[Any] = pc.if_else(pc.is_finite(shortest), shortest, pa.scalar(None, shortest.type)).to_pylist()
        return finite
    values: list[Any] = column.to_pylist()
    return [_without_nan(value) for value in values] if pa.types.is_nested(column.type) else values


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _without_nan(inner) for name, inner in value.items()}
    return [_without_nan(inner) for inner in value] if isinstance(value, list) else value


def _flat(rows: pa.Table) -> pa.Table:
    """With records, arrays, bytes and times as text, for forms that do not know them."""
    for place, field in enumerate(rows.schema):
        kind = field.type
        if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_temporal(kind) or pa.types.is_decimal(kind):
            values = [value or None for value in _texts(rows[field.name])]
            rows = rows.set_column(place, field.name, pa.array(values, pa.string()))
        elif pa.types.is_null(kind):
            rows = rows.set_column(place, field.name, rows[field.name].cast(pa.string()))
    return rows


def _other(value: Any) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _padded(cells: list[str], *, right: bool) -> list[str]:
    width = max(map(len, cells))
    return [cell.rjust(width) if right else cell.ljust(width) for cell in cells]


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


FORMATS: dict[str, Callable[[pa.Table], bytes]] = {
    "csv": _csv,
    "json": _json,
    "parquet": _parquet,
    "votable": _votable,
    "table": lambda rows: text(rows).encode(),
}
