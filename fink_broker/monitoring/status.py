"""The state of the services: what `fink status`, the pages, the API and Prometheus show, each in its way."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fink_broker import surveys
from fink_broker.config import Settings
from fink_broker.connectors.ranges import Range
from fink_broker.infra import failures, processes
from fink_broker.infra.processes import Running
from fink_broker.monitoring import archived, costs, delivery, faults, filters, lag, latency, nights, notices, outlets
from fink_broker.monitoring.counts import Books
from fink_broker.monitoring.shelf import Kept
from fink_broker.services import registry

_DROPPED = ("cut", "duplicate")
_NO_SPEED: dict[str, Any] = {"rate": None, "rate_mean": None, "latency_s": None, "stages_s": {}, "batches": []}


def status(settings: Settings, night: str | None = None, kept: Kept | None = None) -> dict[str, Any]:
    """The state of every streaming service.

    Parameters
    ----------
    settings : Settings
        Configuration.
    night : str, optional
        Count the alerts of this night (``YYYYMMDD``) only.
    kept : dict, optional
        Of whoever looks again and again, with the same night: see `shelf.Shelf`.

    Returns
    -------
    dict
        ``ok``, ``disk_free_gb`` and ``services``: name to state (``running``, ``stopped`` or ``failed``), pid, uptime_s, failure (when,
        Unix time, and reason; null unless it has failed), last_error (when and text), in, out, rejected (reason to number), cut,
        duplicate, lag (alerts; null if Kafka does not answer), lag_by (of a service that reads Kafka: topic/partition to messages), rate
        (alerts out in a second, over the last minute), rate_mean (since it has started, see `latency.speed`), latency_s (p50 and p99 of
        the newest batch), stages_s (the same by stage), batches (the newest ones, each with its stages: see `latency.Batch`), errors
        (science module to number), ok.
        Of stream2raw also lost (messages gone from Kafka before they were read) and backlog (messages that were left to the backlog's
        query, a part of the lag); of raw2science cuts (name to number), cpu_ms (an alert, by science module) and memory_mb; of distribution
        filters (name to cpu_ms an alert, alerts, failures, reason, since the service has started; off: since and reason), broken (file
        to what is wrong with it), held and too_large (see `monitoring.delivery.state`); of multimessenger notices (see
        `monitoring.notices.summary`); of archive collisions (pairs of alerts with one row key); of notify, which is there if outlets are,
        lost and outlets (see `monitoring.outlets.delivered`). Of a night ``account``, see `monitoring.nights.Account`.
    """
    books = Books(settings, surveys.get(settings.survey), night, kept)
    services = {
        entry.name: _service(books, entry.name)
        for entry in registry.known(settings).values()
        if entry.kind == "stream" and entry.counted and not (night and entry.name == "mirror")  # it does not know nights
    }
    if settings.outlets and night is None:
        found = outlets.delivered(settings, surveys.get(settings.survey))
        what = {**outlets.total(found), **_NO_SPEED, "errors": {}, "outlets": found, "ok": True}
        services["notify"] = _process(settings, "notify", processes.find(settings, "notify")) | what
    ok = all(service["ok"] and service["state"] != "failed" for service in services.values())
    state = {"ok": ok, "disk_free_gb": _disk_free_gb(settings.root), "services": services}
    if night is None:
        return state
    account = nights.account(books)
    return state | {"ok": ok and not account.faults, "account": asdict(account)}


def _service(books: Books, name: str) -> dict[str, Any]:
    running, count = processes.find(books.settings, name), books.of(name)
    return {
        **_process(books.settings, name, running),
        "in": count.taken,
        "out": count.given,
        "rejected": {reason: number for reason, number in count.dropped.items() if reason not in _DROPPED},
        **{reason: number for reason, number in count.dropped.items() if reason in _DROPPED},
        **(_lag(books, name) if name in lag.FROM_KAFKA and books.night is None else {"lag": count.lag}),
        **({"lost": count.lost} if name == "stream2raw" else {}),
        **_speed(books, name, running),
        "errors": count.errors,
        **({"cuts": count.cuts} if name == "raw2science" else {}),
        **_more(books, name),
        "ok": count.meets,
    }


def _more(books: Books, name: str) -> dict[str, Any]:
    """What only one service has."""
    match name:
        case "raw2science":
            return asdict(costs.newest(books))
        case "distribution":
            return filters.state(books.settings) | delivery.state(books)
        case "multimessenger":
            return {"notices": notices.summary(books.settings.notices_book)}
        case "archive":
            return {"collisions": len(archived.counts(books.settings).collisions)}
    return {}


def _process(settings: Settings, name: str, running: Running | None) -> dict[str, Any]:
    failure = None if running else failures.find(settings, name)
    fault = faults.last(settings, name, failure)
    return {
        "state": "running" if running else "failed" if failure else "stopped",
        "pid": running.pid if running else None,
        "uptime_s": round(time.time() - running.started) if running else None,
        "failure": asdict(failure) if failure else None,
        "last_error": asdict(fault) if fault else None,
    }


def _lag(books: Books, name: str) -> dict[str, Any]:
    found = lag.by_partition(books, name)
    beside: list[Range] = books.to_come if name == "stream2raw" else []
    backlog = sum(one.size for one in beside)
    total = None if found is None else sum(found.values()) + backlog
    return {"lag": total, "lag_by": found or {}, **({"backlog": backlog} if name == "stream2raw" else {})}


def _speed(books: Books, name: str, running: Running | None) -> dict[str, Any]:
    found = latency.speed(books, name, running.started if running else 0.0)
    if found is None:
        return dict(_NO_SPEED)
    batches = [asdict(batch) for batch in found.batches]
    stages = {stage: {"p50": span["p50"], "p99": span["p99"]} for stage, span in batches[-1]["stages"].items()}
    # The last stage of a service is the whole of it.
    whole = list(stages.values())[-1] if stages else None
    return {"rate": round(found.rate, 2), "rate_mean": round(found.mean, 2), "latency_s": whole, "stages_s": stages, "batches": batches}


def _disk_free_gb(folder: Path) -> float:
    """Of the disk that a folder is on, or will be."""
    there = next(one for one in (folder, *folder.parents) if one.exists())
    return round(shutil.disk_usage(there).free / 1e9, 1)
