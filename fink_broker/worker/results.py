"""What goes into a module and what comes out of it: Series as Spark gives them, tables as Spark takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa

from fink_broker.science.module import Module


def frozen(values: Any) -> Any:
    """The same Series, or DataFrame of a record; its arrays cannot be written to, because all modules share them."""
    if isinstance(values, pd.DataFrame):
        for name in values:
            frozen(values[name])
    elif values.dtype == object:
        for value in values.to_numpy():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
    return values


def thawed(values: Any) -> Any:
    """A copy, arrays and all."""
    if isinstance(values, pd.DataFrame):
        return values.apply(thawed)
    if values.dtype != object:
        return values.copy()
    return values.map(lambda value: value.copy() if isinstance(value, np.ndarray) else value)


def table(result: Any, module: Module, index: pd.Index) -> pd.DataFrame:
    """What a module returned as a table of its outputs, a row an alert.

    Raises
    ------
    ValueError
        It has another length.
    KeyError, TypeError
        It lacks an output.
    """
    names = list(module.outputs)
    if isinstance(result, pd.DataFrame):
        found = result[names]
    else:
        values = pd.Series(result)
        if module.pick:
            found = pd.DataFrame(
                {name: values if key == "*" else values.map(_part(key)) for name, key in module.pick.items()}, dtype=object
            )
        elif len(names) == 1:
            found = pd.DataFrame({names[0]: values})
        else:
            found = _split(values, module)
    if len(found) != len(index):
        raise ValueError(f"returned {len(found)} values for {len(index)} alerts")
    return found.set_axis(index)


def _part(key: str) -> Any:
    """Takes one value out of a map, whose keys may be numbers."""

    def part(value: Any) -> Any:
        return None if value is None else next((item for name, item in value.items() if str(name) == key), None)

    return part


def _split(values: pd.Series, module: Module) -> pd.DataFrame:
    """Columns of a text of values between commas, as crossmatches return them; what is no number where one should be is null."""
    rows = [str(value).split(",", len(module.outputs) - 1) for value in values]
    found = {}
    for place, (name, kind) in enumerate(module.outputs.items()):
        read = _READ.get(kind, str)
        # A text of fewer values (`Fail 504`) says nothing of the others.
        found[name] = [read(row[place]) if place < len(row) else None for row in rows]
    return pd.DataFrame(found, dtype=object)


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _int(text: str) -> int | None:
    number = _float(text)
    return None if number is None or not np.isfinite(number) else int(number)


_READ: dict[str, Any] = {"float": _float, "double": _float, "int": _int, "bigint": _int, "long": _int}


def as_arrow(values: pd.Series, kind: pa.DataType) -> pa.Array[Any]:
    """The values as Spark will take them: what does not fit is to be found here, not where it would end the query."""
    if pa.types.is_map(kind):
        values = values.map(lambda value: list(value.items()) if isinstance(value, dict) else value)
    return cast("pa.Array[Any]", pa.Array.from_pandas(values, type=kind, safe=False))


def as_input(values: pd.Series, kind: pa.DataType) -> pd.Series:
    """The values as Spark would give them to the next module."""
    if pa.types.is_nested(kind) and not pa.types.is_list(kind):
        return values
    return as_arrow(values, kind).to_pandas().set_axis(values.index)


def reason(error: BaseException) -> str:
    """A fault in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def unless_interrupted(error: BaseException) -> None:
    """Let go on what asks this process itself to end."""
    if isinstance(error, KeyboardInterrupt):
        raise error


def constant(value: Any, index: pd.Index) -> pd.Series:
    """A constant argument, as Spark gives a literal."""
    values: Sequence[Any] = [value] * len(index)
    return pd.Series(values, index=index)
