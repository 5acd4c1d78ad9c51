"""fink status: per service what went in and out, what was dropped and why, how far behind it is; whether the sums meet."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from confluent_kafka import KafkaException

from fink_broker import config, surveys
from fink_broker.commands import Parser, parse_night, run
from fink_broker.config import Settings
from fink_broker.connectors import backlog, kafka, parquet
from fink_broker.connectors.ranges import waiting
from fink_broker.connectors.sparklog import newest, offsets
from fink_broker.errors import FinkError, ServerUnavailable
from fink_broker.infra import processes
from fink_broker.infra.kafka import connection
from fink_broker.monitoring import costs, delivery, latency, nights, outlets
from fink_broker.monitoring.counts import Books
from fink_broker.services import archive, live, multimessenger, registry

_DROPPED = ("cut", "duplicate")
_COSTLIEST = 10
_FROM_KAFKA = ("stream2raw", "mirror")
_NO_SPEED: dict[str, Any] = {"rate": None, "latency_s": None, "stages_s": {}, "batches": []}


def main(argv: list[str] | None = None) -> int:
    """Print the state of every service, and of a night the account; exit code 1 if sums do not meet."""
    parser = Parser("status")
    parser.add_argument("--night", type=parse_night)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    settings = config.load(arguments.conf)
    try:
        state = status(settings, arguments.night)
    except FileNotFoundError as error:
        raise FinkError(f"a committed file is gone, and the alerts in it: {error.filename or error}") from error
    if not arguments.json:
        print(f"Night {arguments.night}\n" if arguments.night else "", end="")
        print(table(state))
    else:
        print(json.dumps(state))
    return 0 if state["ok"] else 1


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
        ``ok`` and ``services``: name to state, pid, in, out, rejected (reason to number), cut, duplicate, lag (alerts; null if Kafka does
        not answer), rate (alerts out in a second, over the last minute), latency_s (p50 and p99 of the newest batch), stages_s (the same by
        stage), batches (the newest ones, each with its stages), errors (science module to number), ok.
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
        running = processes.find(settings, entry.name)
        count = books.of(entry.name)
        reasons = {reason: number for reason, number in count.dropped.items() if reason not in _DROPPED}
        services[entry.name] = {
            "state": "running" if running else "stopped",
            "pid": running.pid if running else None,
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
        running = processes.find(settings, "notify")
        found = outlets.delivered(settings, surveys.get(settings.survey))
        state = {"state": "running" if running else "stopped", "pid": running.pid if running else None}
        services["notify"] = {**state, **outlets.total(found), **_NO_SPEED, "errors": {}, "outlets": found, "ok": True}
    ok = all(service["ok"] for service in services.values())
    if night is None:
        return {"ok": ok, "services": services}
    account = nights.account(books)
    return {"ok": ok and not account.faults, "services": services, "account": asdict(account)}


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


def table(state: Mapping[str, Any]) -> str:
    """The state as a table, then what was dropped and why, and the verdict."""
    lines = [f"{'service':<16}{'state':<10}{'pid':>8}{'in':>12}{'out':>12}{'rejected':>10}{'cut':>10}{'duplicate':>10}{'lag':>10}"]
    notes = []
    for name, service in state["services"].items():
        rejected = sum(service["rejected"].values())
        numbers = (service["in"], service["out"])
        lag = "?" if service["lag"] is None else f"{service['lag']:,}"
        lines.append(
            f"{name:<16}{service['state']:<10}{service['pid'] or '-':>8}{numbers[0]:>12,}{numbers[1]:>12,}{rejected:>10,}"
            f"{service.get('cut', 0):>10,}{service.get('duplicate', 0):>10,}{lag:>10}"
        )
        notes += [f"  {name}: rejected {number:,}: {reason}" for reason, number in service["rejected"].items()]
        if service.get("lost"):
            notes.append(f"  {name}: LOST {service['lost']:,}: gone from Kafka before they were read; the log says where")
        if service.get("collisions"):
            notes.append(f"  {name}: {service['collisions']:,} pairs of alerts have one row key, of which one is kept; the log names them")
        if service.get("backlog"):
            notes.append(f"  {name}: {service['backlog']:,} of the lag are a backlog, which comes in beside the new alerts")
        notes += [
            f"  {name}: {stage}: half of the newest batch within {span['p50']:.1f} s, 99 % within {span['p99']:.1f} s"
            for stage, span in service["stages_s"].items()
        ]
        notes += [f"  {name}: the science module {module} raised for {number:,} alerts" for module, number in service["errors"].items()]
        notes += [f"  {name}: cut {number:,}: {cut}" for cut, number in service.get("cuts", {}).items()]
        notes += [f"  {name}: {line}" for line in (*_notices(service.get("notices")), *outlets.lines(service.get("outlets", {})))]
        if service.get("cpu_ms"):
            spent = ", ".join(f"{module} {ms:g}" for module, ms in sorted(service["cpu_ms"].items(), key=lambda pair: -pair[1]))
            notes.append(f"  {name}: CPU ms an alert: {spent}; at most {service['memory_mb']:,} MB in a worker")
        notes += [f"  {name}: {note}" for note in _of_filters(service.get("filters", {}), service.get("broken", {}))]
        notes += [
            f"  {name}: HELD {topic} since {one['since']}: {one['reason']}; {one['lag']:,} alerts wait to be looked through for it"
            for topic, one in service.get("held", {}).items()
        ]
        notes += [
            f"  {name}: {topic} did not take {one['messages']:,} messages, too large for it; the newest: alert {one['newest'][-1]}"
            for topic, one in service.get("too_large", {}).items()
        ]
        if not service["ok"]:
            notes.append(f"  {name}: the sums do not meet: {service['in']:,} in, but {service['out']:,} out and the rest not accounted for")
    account = _account(state["account"]) if "account" in state else []
    return "\n".join([*lines, *notes, *account, "", "sums meet" if state["ok"] else "SUMS DO NOT MEET"])


def _of_filters(filters: Mapping[str, Any], broken: Mapping[str, str]) -> list[str]:
    """What is to be said of filters: what the costliest take, who had no answer, who is off or broken."""
    ran = sorted((one["cpu_ms"], name) for name, one in filters.items() if one.get("alerts"))
    spent = ", ".join(f"{name} {ms:g}" for ms, name in reversed(ran[-_COSTLIEST:]))
    return [
        *([f"CPU ms an alert: {spent}" + (f", {len(ran) - _COSTLIEST} more" if len(ran) > _COSTLIEST else "")] if ran else []),
        *(
            f"the filter {name} had no answer for {one['failures']:,} alerts: {one['reason']}"
            for name, one in filters.items()
            if one.get("failures")
        ),
        *(
            f"the filter {name} is off since {one['off']['since']}: {one['off']['reason']}; fink filter enable {name}"
            for name, one in filters.items()
            if one["off"]
        ),
        *(f"{fault}; its last good version is in use" for fault in broken.values()),
    ]


def _notices(found: Mapping[str, Any] | None) -> list[str]:
    if found is None or not any(found.values()):
        return []
    unusable = "".join(f", {number:,} {reason}" for reason, number in found["unusable"].items())
    return [
        f"{found['read']:,} notices{unusable}, {len(found['faults']):,} that cannot be read",
        *(f"the notice {file} cannot be read: {reason}" for file, reason in found["faults"].items()),
    ]


def _account(account: Mapping[str, Any]) -> list[str]:
    """The account of a night, sum by sum."""
    lines = [
        f"  {one['topic']}/{one['partition']}: offsets {one['first']} to {one['last']}: {one['messages']:,} messages of the night"
        + (f", {one['others']:,} of others" if one["others"] else "")
        + (f", {one['lost']:,} lost" if one["lost"] else "")
        + (f", {one['missing']:,} nowhere" if one["missing"] else "")
        for one in account["stretches"]
    ]
    further = f" + {account['further']:,} further alerts in them" if account["further"] else ""
    return [
        "",
        *lines,
        f"  {account['messages']:,} messages{further} = {account['sound']:,} sound + {sum(account['rejected'].values()):,} rejected",
        f"  {account['sound']:,} sound = {account['distinct']:,} distinct + {account['repeats']:,} repeats",
        f"  {account['distinct']:,} distinct = {account['cut']:,} cut + {account['science']:,} in science + {account['waiting']:,} waiting",
        *(f"  {fault}" for fault in account["faults"]),
    ]


if __name__ == "__main__":
    run(main)
