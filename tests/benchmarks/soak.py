"""The services for ten minutes on a night with garbage in it, one of them killed and Kafka restarted meanwhile; then all sums, by id.

stream2raw, raw2science and distribution run as their users start them, each on its own. Nothing of what they count themselves is believed:
what was sent is noted with the place that Kafka gave it, and what came out is read by pyarrow and a plain consumer.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from fink_broker import surveys
from fink_broker.commands.bench import Figure, Report
from fink_broker.commands.progress import Progress
from fink_broker.config import Settings
from fink_broker.errors import FinkError
from fink_broker.infra import kafka, ports, processes
from fink_broker.monitoring.counts import Books
from fink_broker.monitoring.status import status
from tests.benchmarks._outcome import Outcome, latencies, outcome, topics
from tests.benchmarks._services import SERVICES, Services
from tests.benchmarks._stream import RATE, Stream

ALERTS = 600 * RATE  # ten minutes
_PATIENCE_S = 600.0  # without any progress

# When what happens, in parts of the whole.
_KILLED, _RESTARTED = {"raw2science": 0.4, "stream2raw": 0.5}, 0.65


def run(settings: Settings, alerts: int | None = None) -> Report:
    """Let the services run on a stream of so many messages, 30 a second.

    Parameters
    ----------
    settings : Settings
        The simulator's templates; servers, logs and data go below its home for the time of the run.
    alerts : int, optional
        How many messages are sent: 1,800 a minute.
    """
    count = alerts or ALERTS
    progress = Progress(sys.stderr)
    # Logs and data stay, to be looked at.
    home = settings.root / "soak"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    here = _settings(settings, home)
    kafka.start(here)
    services = Services(here)
    stream = Stream(here, count)
    try:
        with progress.step("start the services"):
            for name in SERVICES:
                services.start(name)
        with progress.step("the night") as say:
            _night(here, services, stream, say)
        with progress.step("work off what is left") as say:
            _work_off(here, services, stream, say)
        services.stop()
        state = status(here)
        with progress.step("read everything back"):
            found = outcome(here, stream)
            times = latencies(here)
            sent_on = topics(here, settings.spark.master)
    finally:
        services.stop()
        processes.stop(here, kafka.NAME, say=lambda line: None)
    return _report(stream, found, times=times, sent_on=sent_on, services=services, meets=state["ok"])


def _settings(settings: Settings, home: Path) -> Settings:
    """The configuration that a user has without one, in a home of its own. Kafka keeps its port over a restart."""
    embedded = {"port": ports.free(), "heap": settings.kafka.embedded.heap}
    simulator = {"templates": settings.simulator.templates}
    return Settings.model_validate({"home": home, "kafka": {"embedded": embedded}, "simulator": simulator})


def _night(settings: Settings, services: Services, stream: Stream, say: Callable[[str], None]) -> None:
    """Send, at an even pace; kill, start again and restart on the way."""
    due = [(part, name) for name, part in _KILLED.items()] + [(_RESTARTED, kafka.NAME)]
    for sent in stream.send():
        say(f"{sent:,} of {stream.count:,} sent")
        services.look()
        if due and sent >= due[0][0] * stream.count:
            _, name = due.pop(0)
            if name == kafka.NAME:
                processes.stop(settings, name, say=lambda line: None)
                kafka.start(settings)
            else:
                services.kill(name)
                services.start(name)


def _work_off(settings: Settings, services: Services, stream: Stream, say: Callable[[str], None]) -> None:
    """Wait until everything that was sent has gone through every service.

    Raises
    ------
    FinkError
        It does not go on.
    """
    survey, before, changed = surveys.get(settings.survey), "", time.monotonic()
    while True:
        services.look()
        books = Books(settings, survey)
        stages = {name: books.of(name) for name in SERVICES}
        text = ", ".join(f"{name} {stage.taken:,}" for name, stage in stages.items())
        say(text)
        if stages["stream2raw"].taken >= len(stream.sent) and not any(stage.lag for stage in stages.values()):
            return
        if text != before:
            before, changed = text, time.monotonic()
        if time.monotonic() - changed > _PATIENCE_S:
            raise FinkError(f"bench soak: no progress for {_PATIENCE_S:g} s ({text})")
        time.sleep(2)


def _report(
    stream: Stream,
    found: Outcome,
    *,
    times: dict[str, tuple[float, float]],
    sent_on: dict[str, int],
    services: Services,
    meets: bool,
) -> Report:
    kinds = Counter(message.kind for message in stream.sent)
    exact = [
        ("messages without a row", found.lost),
        ("rows there twice", found.doubled),
        ("sound alerts rejected", found.wronged),
        ("garbage taken for an alert", found.deceived),
        ("alerts that are not what was sent", found.altered),
        ("science: missing", found.science_missing),
        ("science: not expected or there twice", found.science_strange),
        ("topics: missing", sent_on["missing"]),
        ("topics: not expected", sent_on["strange"]),
        ("services that died", len(services.died)),
        ("sums of fink status that do not meet", int(not meets)),
    ]
    figures = [Figure(name, value, "", 0.0, at_most=True) for name, value in exact]
    figures += [
        Figure("sent", len(stream.sent), "messages"),
        Figure("sound among them", kinds["sound"] + kinds["again"], "messages"),
        Figure("in raw", found.kept, "alerts"),
        Figure("rejected", found.rejected.total(), "messages"),
        Figure("in science", found.science, "alerts"),
        Figure("cut", found.cut, "alerts"),
        Figure("repeats", found.repeats, "alerts"),
        Figure("sent to users", sent_on["messages"], "messages"),
        Figure("sent to users again", sent_on["again"], "messages"),
    ]
    for name, (p50, p99) in times.items():
        figures += [Figure(f"{name}, p50", p50, "s"), Figure(f"{name}, p99", p99, "s")]
    for name in SERVICES:
        begin, end = services.memory(name)
        figures += [Figure(f"memory of {name}, early", round(begin / 1e6), "MB"), Figure("and at the end", round(end / 1e6), "MB")]
    lines = [_line(figure) for figure in figures]
    lines += ["", *(f"{number:>8,}  {kind}" for kind, number in kinds.most_common())]
    lines += ["", *(f"{number:>8,}  rejected: {reason}" for reason, number in found.rejected.most_common(40))]
    return Report(figures, "\n".join([*lines, *_notes(found.faults), *_notes(services.died)]))


def _line(figure: Figure) -> str:
    return (
        f"{figure.name:<44}{figure.value:>12,g} {figure.unit:<12}{'' if figure.ok is None else 'as it should be' if figure.ok else 'WRONG'}"
    )


def _notes(lines: Iterable[str]) -> list[str]:
    return ["", *list(lines)[:40]]
