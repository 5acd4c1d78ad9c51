"""What `fink demo` tells: a table for a person, figures for a machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fink_broker.monitoring.counts import Counts
from fink_broker.monitoring.proof import Proof
from fink_broker.services.simulator import Sent

_DROPPED = ("cut", "duplicate")


@dataclass
class Result:
    """What the demo saw.

    Parameters
    ----------
    night : str
        ``YYYYMMDD``.
    sent : Sent
        What the simulator sent.
    stages : dict of Counts
        By service.
    seconds : dict of float
        Time each service spent on its batches.
    proof : Proof
        What lies on the outputs.
    peak_memory : int
        Bytes, of all processes together.
    """

    night: str
    sent: Sent
    stages: dict[str, Counts]
    seconds: dict[str, float]
    proof: Proof
    peak_memory: int = 0

    @property
    def first_alert_s(self) -> float | None:
        """Seconds from the first alert sent to the first one on a user's topic; None without one."""
        first = self.proof.first_message_s
        return None if first is None else first - self.sent.first_sent

    def out(self, stage: str) -> int:
        """What a stage gave out: messages for distribution, rows for archive, else alerts."""
        outputs = {"distribution": self.proof.topics, "archive": self.proof.tables}
        return sum(outputs[stage].values()) if stage in outputs else self.stages[stage].given


def table(result: Result) -> str:
    """The result as a table that a person enjoys reading."""
    size = result.sent.bytes / max(result.sent.alerts, 1) / 1000
    lines = [
        "",
        f"{result.sent.alerts:,} alerts of {size:.0f} kB, night {result.night}, sent in {result.sent.seconds:.1f} s",
        "",
        f"{'stage':<14}{'in':>9}{'out':>9}  {'':<9}{'rejected':>9}{'cut':>8}{'repeat':>8}{'seconds':>9}{'alerts/s':>10}",
    ]
    units = {"distribution": "messages", "archive": "rows"}
    for name, stage in result.stages.items():
        rejected = sum(number for reason, number in stage.dropped.items() if reason not in _DROPPED)
        seconds = result.seconds.get(name, 0.0)
        rate = f"{stage.taken / seconds:,.0f}" if seconds else "-"
        lines.append(
            f"{name:<14}{stage.taken:>9,}{result.out(name):>9,}  {units.get(name, 'alerts'):<9}{rejected:>9,}"
            f"{stage.dropped.get('cut', 0):>8,}{stage.dropped.get('duplicate', 0):>8,}{seconds:>9.1f}{rate:>10}"
        )
    lines += ["", "read back:"]
    proof = result.proof
    for title, found in (("topic", proof.topics), ("table", proof.tables), ("archive", proof.archive)):
        lines += [f"  {title:<8}{name:<28}{number:>9,}" for name, number in found.items()]
    first = result.first_alert_s
    arrived = "no alert on a topic" if first is None else f"first alert on a topic {first:.1f} s after the first was sent"
    lines += ["", f"{arrived}; peak memory {result.peak_memory / 1e6:,.0f} MB"]
    lines += [f"  {fault}" for fault in proof.faults]
    lines.append("SUMS DO NOT MEET" if proof.faults else "Everything that was sent is where it belongs, once: the sums meet.")
    return "\n".join(lines)


def figures(result: Result) -> dict[str, Any]:
    """The result for a machine; `cpu_s` is null, because the services share an application."""
    stages: dict[str, dict[str, Any]] = {}
    for name, stage in result.stages.items():
        out = {"distribution": "messages", "archive": "rows"}.get(name, "out")
        dropped: dict[str, int] = {"rejected": sum(number for reason, number in stage.dropped.items() if reason not in _DROPPED)}
        dropped |= {reason: stage.dropped[reason] for reason in _DROPPED if reason in stage.dropped}
        seconds = round(result.seconds.get(name, 0.0), 2)
        stages[name] = {"in": stage.taken, out: result.out(name), **dropped, "seconds": seconds, "cpu_s": None}
    first = result.first_alert_s
    return {
        "ok": not result.proof.faults,
        "sent": result.sent.alerts,
        "stages": stages,
        "topics": result.proof.topics,
        "tables": result.proof.tables,
        "archive": result.proof.archive,
        "first_alert_s": None if first is None else round(first, 2),
        "peak_memory_mb": round(result.peak_memory / 1e6),
    }
