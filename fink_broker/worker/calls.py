"""One module's calls on a batch: here or in a process of its own, with all that keeps it from harm and from reading twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from fink_broker.science.module import Module
from fink_broker.worker import catalogues, loading, remote, results
from fink_broker.worker.answers import Answers
from fink_broker.worker.child import Child
from fink_broker.worker.limits import within
from fink_broker.worker.place import Place

OBJECT = "_object"  # the column of the objects' ids

# Modules that write into what they are given: they get copies, the others share.
_writes: set[str] = set()
_children: dict[str, Child] = {}


class Call:
    """Calls the function of a module on some rows of a batch.

    Parameters
    ----------
    module : Module
        Module.
    columns : mapping
        The batch, by column.
    place : Place
        This worker's folder.
    """

    def __init__(self, module: Module, columns: Mapping[str, pd.Series], place: Place) -> None:
        self._module, self._columns, self._place = module, columns, place
        self.elsewhere_s = 0.0
        """CPU seconds that the calls took in another process."""

    def __call__(self, start: int, stop: int, seconds: float) -> Any:
        """What the function returns for the rows from `start` to before `stop`.

        Raises
        ------
        BaseException
            Whatever it raises, and `TimeIsUp`.
        """
        rows = {
            name: self._columns[name].iloc[start:stop] for name in (*self._module.inputs, *catalogues.POSITION) if name in self._columns
        }
        if not self._module.keep_hours:
            return self._ask(rows, seconds)
        with Answers(self._place.shared, self._module) as answers:
            objects = self._columns[OBJECT].iloc[start:stop]
            known = answers.known(objects)
            unknown = np.flatnonzero(known.isna())
            if len(unknown):
                asked = self._ask({name: values.iloc[unknown] for name, values in rows.items()}, seconds)
                known.iloc[unknown] = pd.Series(asked).to_numpy(object)
                answers.keep(objects.iloc[unknown], known.iloc[unknown])
            return known

    def _ask(self, rows: Mapping[str, pd.Series], seconds: float) -> Any:
        module, place = self._module, self._place
        if not module.isolate and module.name not in place.killers:
            with place.running(module.name), within(seconds):
                return call(module, rows)
        child = _children.setdefault(module.name, Child(module, call))
        result, cpu_s = child(rows, seconds)
        self.elsewhere_s += cpu_s
        return result


def call(module: Module, rows: Mapping[str, pd.Series]) -> Any:
    """Call the function in this process."""
    function = module.reference.load()
    # PySpark's UDFs have the function itself here.
    function = getattr(function, "func", function)
    try:
        return _call(function, module, rows)
    except ValueError as error:
        if module.name in _writes or "read-only" not in str(error):
            raise
        _writes.add(module.name)
        return _call(function, module, rows)


def _call(function: Any, module: Module, rows: Mapping[str, pd.Series]) -> Any:
    fresh = results.thawed if module.name in _writes else pd.Series.copy
    given = [fresh(rows[name]) for name in module.inputs]
    with loading.remembered(), remote.patient(), catalogues.around(module, rows):
        if module.by_row:
            values = [function(*row, **module.constants) for row in zip(*given, strict=True)]
            return pd.Series(values, index=given[0].index, dtype=object)
        # Series for the constants too, as Spark gives literals; numbered from 0, as Spark's batches are: some count on it.
        given = [values.reset_index(drop=True) for values in given]
        index = given[0].index if given else pd.RangeIndex(0)
        return function(*given, **{name: results.constant(value, index) for name, value in module.constants.items()})


def end_children() -> None:
    """End the processes of isolated modules."""
    while _children:
        _children.popitem()[1].end()
