"""What each filter cost, brought from the workers to the driver by a Spark accumulator."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.accumulators import AccumulatorParam

from fink_broker.worker.batch import Outcome


@dataclass(frozen=True)
class Spent:
    """What a filter did over some Arrow batches.

    Parameters
    ----------
    cpu_ms : float
        Milliseconds of CPU.
    alerts, failures : int
        Alerts that it was asked about, and those of them for which it gave no answer.
    reason : str
        Why it gave none, the last time.
    in_turn : int
        How many of the newest batches, in turn, gave no answer at all.
    never : bool
        Whether none of the batches gave one.
    """

    cpu_ms: float = 0.0
    alerts: int = 0
    failures: int = 0
    reason: str = ""
    in_turn: int = 0
    never: bool = True

    def __add__(self, later: Spent) -> Spent:
        return Spent(
            self.cpu_ms + later.cpu_ms,
            self.alerts + later.alerts,
            self.failures + later.failures,
            later.reason or self.reason,
            later.in_turn + (self.in_turn if later.never else 0),
            self.never and later.never,
        )


Tally = dict[str, Spent]


class Adding(AccumulatorParam[Tally]):
    """Adds tallies, filter by filter."""

    def zero(self, value: Tally) -> Tally:
        """A tally of nothing."""
        return {}

    def addInPlace(self, value1: Tally, value2: Tally) -> Tally:
        """Add the later of two to the earlier one."""
        for name, spent in value2.items():
            value1[name] = value1.get(name, Spent()) + spent
        return value1


def counted(outcome: Outcome, alerts: int) -> Tally:
    """The tally of one Arrow batch."""
    tally = {}
    for name, cpu_ms in outcome.cpu_ms.items():
        faults = outcome.faults[name]
        failed = len(faults) == alerts
        reason = faults[max(faults)] if faults else ""
        tally[name] = Spent(cpu_ms, alerts, len(faults), reason, int(failed), failed)
    return tally
