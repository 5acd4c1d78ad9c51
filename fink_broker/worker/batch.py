"""One Arrow batch through all modules, each on its own: one that fails costs its own values only."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from fink_broker.science.module import Module
from fink_broker.worker import results
from fink_broker.worker.calls import Call
from fink_broker.worker.limits import TimeIsUp
from fink_broker.worker.place import Place
from fink_broker.worker.remote import Away
from fink_broker.worker.retry import Retry

Columns = dict[str, pd.Series]

STARTED, ENDED, ERRORS, COST = "brokerStartProcessTimestamp", "brokerEndProcessTimestamp", "science_errors", "science_cost"

# A module that was too late this often in turn is left out for a while: it would hold the night up.
_LATE, _PAUSE_S = 3, 600.0

log = logging.getLogger(__name__)
_late: dict[str, tuple[int, float]] = {}
_said: set[str] = set()


@dataclass(frozen=True)
class Outcome:
    """What modules gave for one Arrow batch.

    Parameters
    ----------
    values : dict of Series
        Their outputs.
    faults : dict
        Module to what it raised, by row.
    cpu_ms : dict
        Module to the milliseconds of CPU that it took.
    """

    values: dict[str, pd.Series]
    faults: dict[str, dict[int, str]]
    cpu_ms: dict[str, float]


def evaluate(modules: Sequence[Module], columns: Columns, kinds: Mapping[str, pa.DataType], ids: pd.Series, place: Place) -> Outcome:
    """Run the modules on one Arrow batch.

    Parameters
    ----------
    modules : sequence of Module
        Modules, each after those whose columns it takes.
    columns : dict of Series
        What their inputs name, all of one length (a DataFrame for a record); columns that modules make are added.
    kinds : mapping
        Arrow type of each output.
    ids : Series
        Ids of the alerts, for messages.
    place : Place
        This worker's own folder.
    """
    columns = {name: results.frozen(values) for name, values in columns.items()}
    outcome = Outcome({}, {}, {})
    wanted = {name for module in modules for name in module.inputs}
    for module in modules:
        began = time.process_time()
        call = Call(module, columns, place)
        values, faults = _guarded(module, call, kinds, ids.index)
        for row, fault in faults.items():
            _say_once(module.name, fault, ids.iloc[row])
        outcome.values.update({name: values[name] for name in module.outputs if not name.startswith("_")})
        outcome.faults[module.name] = faults
        columns |= {name: results.frozen(results.as_input(values[name], kinds[name])) for name in module.outputs if name in wanted}
        outcome.cpu_ms[module.name] = round(1000 * (time.process_time() - began + call.elsewhere_s), 3)
    return outcome


def run(modules: Sequence[Module], columns: Columns, kinds: Mapping[str, pa.DataType], ids: pd.Series, place: Place) -> pd.DataFrame:
    """Run science modules on one Arrow batch, see `evaluate`.

    Returns
    -------
    DataFrame
        Outputs, times, errors by alert, and in the first row what each module cost (`cost`).
    """
    started = pd.Timestamp(time.time(), unit="s")
    outcome = evaluate(modules, columns, kinds, ids, place)
    errors: list[list[str] | None] = [None] * len(ids)
    for name, faults in outcome.faults.items():
        for row, fault in faults.items():
            errors[row] = [*(errors[row] or []), f"{name}: {fault}"]
    spent = {name: [ms, len(ids), len(outcome.faults[name])] for name, ms in outcome.cpu_ms.items()}
    cost = json.dumps({"modules": spent, "memory_mb": place.memory_mb()}, separators=(",", ":"))
    made: dict[str, Any] = {**outcome.values, STARTED: started, ENDED: pd.Timestamp(time.time(), unit="s")}
    made |= {ERRORS: pd.Series(errors, index=ids.index, dtype=object), COST: pd.Series([cost, *[None] * (len(ids) - 1)], index=ids.index)}
    return pd.DataFrame(made, index=ids.index)


def _guarded(module: Module, call: Call, kinds: Mapping[str, pa.DataType], index: pd.Index) -> tuple[pd.DataFrame, dict[int, str]]:
    """What a module returned, checked; where it failed, row by row, with reasons by row."""
    if module.offline:
        return _nothing(module, kinds, index), {}
    times, until = _late.get(module.name, (0, 0.0))
    if times >= _LATE and time.monotonic() < until:
        return _nothing(module, kinds, index), dict.fromkeys(range(len(index)), f"left out: {times} times in turn it took too long")

    def one(start: int, stop: int, seconds: float) -> pd.DataFrame:
        table = results.table(call(start, stop, seconds), module, index[start:stop])
        for name in module.outputs:
            results.as_arrow(table[name], kinds[name])
        return table

    step = module.batch or len(index)
    parts: list[pd.DataFrame] = []
    faults: dict[int, str] = {}
    for start in range(0, len(index), step):
        stop = min(start + step, len(index))
        try:
            parts.append(one(start, stop, module.timeout_s))
            _late.pop(module.name, None)
        # Whatever it is, an exit too, it costs the module's own values. The rows of a server that is away would not do better alone.
        except Away as error:
            parts.append(_nothing(module, kinds, index[start:stop]))
            faults |= dict.fromkeys(range(start, stop), results.reason(error))
        except BaseException as error:  # noqa: BLE001
            results.unless_interrupted(error)
            if isinstance(error, TimeIsUp):
                _late[module.name] = (_late.get(module.name, (0, 0.0))[0] + 1, time.monotonic() + _PAUSE_S)
            retry = Retry(module, one, kinds)
            retry.rows(range(start, stop), error)
            parts.append(pd.DataFrame(retry.values, index=index[start:stop], columns=list(module.outputs), dtype=object))
            faults |= retry.faults
    return pd.concat(parts) if len(parts) > 1 else parts[0], faults


def _nothing(module: Module, kinds: Mapping[str, pa.DataType], index: pd.Index) -> pd.DataFrame:
    """What stands for a module that did not run: its value for a server that is away, else null."""
    if module.away is None:
        return pd.DataFrame(None, index=index, columns=list(module.outputs), dtype=object)
    return results.table(pd.Series([module.away] * len(index), dtype=object), module, index)


def _say_once(name: str, fault: str, alert: object) -> None:
    """One example of each fault goes to the log."""
    if (what := f"{name}: {fault}") not in _said and len(_said) < 1000:
        _said.add(what)
        log.warning("%s, alert %s", what, alert)
