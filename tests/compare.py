"""Values field by field."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pandas as pd

from fink_broker.connectors import parquet
from fink_broker.transforms.serialise import INTERNAL


def differences(expected: Any, found: Any, path: str = "") -> list[str]:
    """Where two nested values differ; a field that only one of two records has counts as null. NaN equals NaN."""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        names = dict.fromkeys([*expected, *found])
        return [line for name in names for line in differences(expected.get(name), found.get(name), f"{path}.{name}")]
    if isinstance(expected, list | tuple) and isinstance(found, list | tuple):
        if len(expected) != len(found):
            return [f"{path}: {len(expected)} items, not {len(found)}"]
        return [line for i, (a, b) in enumerate(zip(expected, found, strict=True)) for line in differences(a, b, f"{path}[{i}]")]
    if isinstance(expected, float) and isinstance(found, float) and math.isnan(expected) and math.isnan(found):
        return []
    if isinstance(expected, bytes | bytearray) and isinstance(found, bytes | bytearray):
        return [] if bytes(expected) == bytes(found) else [f"{path}: other bytes"]
    alike = type(expected) is type(found) and expected == found
    return [] if alike else [f"{path}: {str(expected)[:80]!r}, not {str(found)[:80]!r}"]


def as_sent(row: Mapping[str, Any]) -> dict[str, Any]:
    """A science alert as users get it: without what stays inside, and times as text."""
    inside = (*INTERNAL, parquet.STAMP)
    return {name: _text(value) if isinstance(value, datetime) else value for name, value in row.items() if name not in inside}


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f").rstrip("0").rstrip(".")


def as_series(rows: list[dict[str, Any]], name: str) -> pd.Series:
    """One field of all rows."""
    return pd.Series([row[name] for row in rows])
