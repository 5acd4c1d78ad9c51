"""Columns of alerts by the names that science modules use, as Spark hands them over: see `fink_broker.transforms.columns`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd


def apply(module: Callable[..., Any], alerts: Sequence[dict[str, Any]]) -> Any:
    """What a science module for ZTF returns for alerts."""
    return module(*arguments(module, alerts))


def arguments(module: Callable[..., Any], alerts: Sequence[dict[str, Any]]) -> list[pd.Series]:
    """The columns that a science module takes."""
    return [column(name, alerts) for name in inspect.signature(module).parameters]


def column(name: str, alerts: Sequence[dict[str, Any]]) -> pd.Series:
    """One column: of the alert, of the current detection, or of the light curve."""
    if name in alerts[0]:
        return pd.Series([alert[name] for alert in alerts])
    if name in alerts[0]["candidate"]:
        return pd.Series([alert["candidate"][name] for alert in alerts])
    return pd.Series([_light_curve(name.removeprefix("c"), alert) for alert in alerts])


def _light_curve(name: str, alert: dict[str, Any]) -> np.ndarray:
    points = [point.get(name) for point in [*(alert["prv_candidates"] or ()), alert["candidate"]]]
    if isinstance(points[-1], str):
        return np.array(points, dtype=object)
    return np.array([np.nan if point is None else point for point in points], dtype=np.float64)
