"""Trying the rows of a batch again after a module has failed, so that one alert does not cost a batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pyarrow as pa

from fink_broker.science.module import Module
from fink_broker.worker import results
from fink_broker.worker.limits import TimeIsUp


@dataclass
class Retry:
    """Calls a module on fewer rows, in no more time than a batch may take.

    In halves and halves of those: so few alerts that fail cost few calls. What took too long, alert by alert: one that hangs costs a tenth
    of the time then.

    Parameters
    ----------
    module : Module
        Module.
    one : callable
        Calls it on the rows from one number to before another, in so many seconds, and checks what it returns.
    kinds : mapping
        Arrow type of each output.
    values : list of dict
        What it returned, a row an alert; nulls where it failed.
    faults : dict
        Why it failed, by row.
    """

    module: Module
    one: Callable[[int, int, float], pd.DataFrame]
    kinds: Mapping[str, pa.DataType]
    values: list[dict[str, Any]] = field(default_factory=list)
    faults: dict[int, str] = field(default_factory=dict)
    _until: float = field(init=False)

    def __post_init__(self) -> None:
        """The time begins."""
        self._until = time.monotonic() + self.module.timeout_s

    def rows(self, rows: range, error: BaseException) -> None:
        """Try rows again that have raised an error."""
        names = list(self.module.outputs)
        if len(rows) == 1:
            self.values.append(dict.fromkeys(names))
            self.faults[rows.start] = results.reason(error)
            return
        middle = (rows.start + rows.stop) // 2
        late = isinstance(error, TimeIsUp)
        for part in [range(row, row + 1) for row in rows] if late else [range(rows.start, middle), range(middle, rows.stop)]:
            left = self._until - time.monotonic()
            try:
                if left <= 0:
                    raise TimeIsUp(self.module.timeout_s)
                table = self.one(part.start, part.stop, min(left, self.module.timeout_s / 10) if len(part) == 1 else left)
                columns = [results.as_arrow(table[name], self.kinds[name]).to_pylist() for name in names]
                self.values += [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
            except BaseException as wrong:  # noqa: BLE001 - kept with the alert
                results.unless_interrupted(wrong)
                self.rows(part, wrong)
