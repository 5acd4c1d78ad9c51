"""Light curves of a whole batch end to end, so that numpy works on all alerts at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


class LightCurves:
    """The light-curve columns of a batch, flat.

    Parameters
    ----------
    **columns : Series of arrays
        Light-curve columns (``cjd``, ``cmagpsf``, ...), as long as each other alert by alert.

    Attributes
    ----------
    lengths : array of int
        For each alert, how many points it has.
    alert : array of int
        For each point, the place of its alert in the batch.
    """

    def __init__(self, **columns: pd.Series) -> None:
        (name, first), *_ = columns.items()
        self.lengths = _lengths(first)
        self.alert = np.repeat(np.arange(len(first)), self.lengths)
        for other, column in columns.items():
            if not np.array_equal(_lengths(column), self.lengths):
                raise ValueError(f"{other} and {name} have different numbers of points")
        self._columns = {name: _flat(column) for name, column in columns.items()}

    def __len__(self) -> int:
        """How many alerts."""
        return len(self.lengths)

    def __getitem__(self, name: str) -> NDArray[Any]:
        """All points of a column: texts, or numbers as double precision, NaN where one is missing."""
        return self._columns[name]


def _lengths(column: pd.Series) -> NDArray[np.int64]:
    return np.fromiter(map(len, column), int, len(column))


def _flat(column: pd.Series) -> NDArray[Any]:
    points = np.concatenate(column.to_list()) if len(column) else np.array([], float)
    return points if points.dtype == object else points.astype(float)
