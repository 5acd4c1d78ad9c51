"""fink status: per service what went in and out, what was dropped and why, how far behind it is; whether the sums meet."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException

from fink_broker import config, surveys
from fink_broker.commands import Parser, parse_night, positive, run
from fink_broker.commands.status_text import table
from fink_broker.config import Settings
from fink_broker.connectors import backlog, kafka, parquet
from fink_broker.connectors.ranges import waiting
from fink_broker.connectors.sparklog import newest, offsets
from fink_broker.errors import FinkError, ServerUnavailable
from fink_broker.infra import failures, processes
from fink_broker.infra.kafka import connection
from fink_broker.monitoring import costs, delivery, latency, nights, outlets
from fink_broker.monitoring.counts import Books
from fink_broker.services import archive, live, multimessenger, registry

_WATCH_S = 2
_CLEAR = "\033[H\033[2J"  # ANSI: the cursor home, the screen empty
_DROPPED = ("cut", "duplicate")
_FROM_KAFKA = ("stream2raw", "mirror")
_NO_SPEED: dict[str, Any] = {"rate": None, "latency_s": None, "stages_s": {}, "batches": []}


def main(argv: list[str] | None = None) -> int:
    """Print the state of every service, and of a night the account; exit code 1 if sums do not meet or a service has failed."""
    parser = Parser("status")
    parser.add_argument("--night", type=parse_night)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--watch", nargs="?", type=positive, const=_WATCH_S, metavar="SECONDS")
    arguments = parser.parse_args(argv)
    settings = config.load(arguments.conf)
    while True:
        ok = _show(settings, arguments.night, as_json=arguments.json, afresh=arguments.watch is not None and sys.stdout.isatty())
        if arguments.watch is None:
            return 0 if ok else 1
        time.sleep(arguments.watch)


def _show(settings: Settings, night: str | None, *, as_json: bool, afresh: bool) -> bool:
    try:
        state = status(settings, night)
    except FileNotFoundError as error:
        raise FinkError(f"a committed file is gone, and the alerts in it: {error.filename or error}") from error
    text = json.dumps(state) if as_json else (f"Night {night}\n" if night else "") + table(state)
    print(f"{_CLEAR if afresh else ''}{text}", flush=True)
    return bool(state["ok"])


def status(settings: Settings, night: str | None = None) -> dict[str, Any]:
    """The state of every streaming service.

    Parameters
    ----------
    settings : Settings
        Configuration.
    night : str, optional
        Count the alerts of this night (``YYYYMMDD``) only.

    Returns
    -------
    dict
        ``ok``, ``disk_free_gb`` and ``services``: name to state (``running``, ``stopped`` or ``failed``), pid, uptime_s, failure (when,
        Unix time, and reason; null unless it has failed), in, out, rejected (reason to number), cut, duplicate, lag (alerts; null if Kafka
        does not answer), rate (alerts out in a second, over the last minute), latency_s (p50 and p99 of the newest batch), stages_s (the
        same by stage), batches (the newest ones, each with its stages), errors (science module to number), ok.
        Of stream2raw also lost (messages gone from Kafka before they were read) and backlog (messages that were left to the backlog's
        query, a part of the lag); of raw2science cuts (name to number), cpu_ms (an alert, by science module) and memory_mb; of distribution
        filters (name to cpu_ms an alert, alerts, failures, reason, since the service has started; off: since and reason), broken (file
        to what is wrong with it), held and too_large (see `monitoring.delivery.state`); of multimessenger notices (see
        `notices.book.summary`); of archive collisions (pairs of alerts with one row key); of notify, which is there if outlets are, lost
        and outlets (see `monitoring.outlets.delivered`). Of a night ``account``, see `monitoring.nights.Account`.
    """
    books = Books(settings, surveys.get(settings.survey), night)
    services = {}
    for entry in registry.known(settings).values():
        if entry.kind != "stream" or not entry.counted or (night and entry.name == "mirror"):  # it does not know nights
            continue
        count = books.of(entry.name)
        reasons = {reason: number for reason, number in count.dropped.items() if reason not in _DROPPED}
        services[entry.name] = {
            **_process(settings, entry.name),
            "in": count.taken,
            "out": count.given,
            "rejected": reasons,
            **{reason: number for reason, number in count.dropped.items() if reason in _DROPPED},
            "lag": _kafka_lag(books, entry.name) if entry.name in _FROM_KAFKA and night is None else count.lag,
            **({"lost": count.lost, "backlog": _backlog(books)} if entry.name == "stream2raw" else {}),
            **_speed(books, entry.name),
            "errors": count.errors,
            **({"cuts": count.cuts, **asdict(costs.newest(books))} if entry.name == "raw2science" else {}),
            **(_filters(settings) if entry.name == "distribution" else {}),
            **({"notices": multimessenger.notices(settings)} if entry.name == multimessenger.NAME else {}),
            **({"collisions": len(archive.counts(settings).collisions)} if entry.name == archive.NAME else {}),
            **(delivery.state(books) if entry.name == delivery.SERVICE else {}),
            "ok": count.meets,
        }
    if settings.outlets and night is None:
        found = outlets.delivered(settings, surveys.get(settings.survey))
        what = {**outlets.total(found), **_NO_SPEED, "errors": {}, "outlets": found, "ok": True}
        services["notify"] = _process(settings, "notify") | what
    ok = all(service["ok"] and service["state"] != "failed" for service in services.values())
    state = {"ok": ok, "disk_free_gb": _disk_free_gb(settings.root), "services": services}
    if night is None:
        return state
    account = nights.account(books)
    return state | {"ok": ok and not account.faults, "account": asdict(account)}


def _process(settings: Settings, name: str) -> dict[str, Any]:
    running = processes.find(settings, name)
    failure = failures.find(settings, name)
    return {
        "state": "running" if running else "failed" if failure else "stopped",
        "pid": running.pid if running else None,
        "uptime_s": round(time.time() - running.started) if running else None,
        "failure": asdict(failure) if failure and not running else None,
    }


def _disk_free_gb(folder: Path) -> float:
    """Of the disk that a folder is on, or will be."""
    there = next(one for one in (folder, *folder.parents) if one.exists())
    return round(shutil.disk_usage(there).free / 1e9, 1)


def _filters(settings: Settings) -> dict[str, Any]:
    """What the service last wrote of the filters that are functions, and which are off."""
    notes, off = live.costs(settings), live.switched_off(settings)
    found = {
        name: {**one, "cpu_ms": round(one["cpu_ms"] / max(one["alerts"], 1), 4), "off": off.get(name)}
        for name, one in notes["filters"].items()
    }
    return {"filters": found | {name: {"off": note} for name, note in off.items() if name not in found}, "broken": notes["faults"]}


def _speed(books: Books, service: str) -> dict[str, Any]:
    found = latency.speed(books, service)
    if found is None:
        return dict(_NO_SPEED)
    batches = [asdict(batch) for batch in found.batches]
    stages = batches[-1]["stages"]
    # The last stage of a service is the whole of it.
    return {"rate": round(found.rate, 2), "latency_s": list(stages.values())[-1], "stages_s": stages, "batches": batches}


def _backlog(books: Books) -> int:
    return sum(one.size for one in books.to_come)


def _kafka_lag(books: Books, service: str) -> int | None:
    """Messages in the topics that a service has read from, that it has not taken in yet; None if Kafka does not answer."""
    settings = books.settings
    checkpoint, first = settings.checkpoint(service), service == "stream2raw"
    batch = backlog.taken(settings.backlog, newest(settings.raw / parquet.LOG)) if first else newest(checkpoint / "commits")
    if batch < 0:
        return 0
    reached = offsets(checkpoint, batch)
    # Read with --simulator or not: the topics tell.
    end = settings.kafka.simulated if list(reached) == [settings.simulator.topic] else settings.kafka.input
    try:
        topics = "|".join(map(re.escape, reached))
        lag = waiting(connection(settings, end), topics, reached, kafka.SOON_S)
        return lag + (_backlog(books) if first else 0)
    except (ServerUnavailable, KafkaException):
        return None


if __name__ == "__main__":
    run(main)
