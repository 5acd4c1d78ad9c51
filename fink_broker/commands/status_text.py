"""What `fink status` prints of the state of the services."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from fink_broker.monitoring import outlets

_COSTLIEST = 10


def table(state: Mapping[str, Any]) -> str:
    """The state as a table, then what was dropped and why, and the verdict."""
    head = f"{'service':<16}{'state':<10}{'pid':>8}{'up':>10}{'in':>12}{'out':>12}{'rejected':>10}{'cut':>10}{'duplicate':>10}{'lag':>10}"
    lines = [f"{head}{'now/s':>9}{'mean/s':>9}"]
    notes = []
    for name, service in state["services"].items():
        rejected = sum(service["rejected"].values())
        numbers = (service["in"], service["out"])
        lag = "?" if service["lag"] is None else f"{service['lag']:,}"
        rates = [f"{service[rate]:,.1f}" if service[rate] is not None else "-" for rate in ("rate", "rate_mean")]
        lines.append(
            f"{name:<16}{service['state']:<10}{service['pid'] or '-':>8}{_up(service['uptime_s']):>10}"
            f"{numbers[0]:>12,}{numbers[1]:>12,}{rejected:>10,}"
            f"{service.get('cut', 0):>10,}{service.get('duplicate', 0):>10,}{lag:>10}{rates[0]:>9}{rates[1]:>9}"
        )
        if service["failure"]:
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(service["failure"]["when"]))
            notes.append(f"  {name}: FAILED, seen at {when}: {service['failure']['reason']}; fink start {name}")
        elif service["last_error"]:
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(service["last_error"]["when"]))
            notes.append(f"  {name}: last error, {when}: {service['last_error']['text']}")
        notes += [f"  {name}: rejected {number:,}: {reason}" for reason, number in service["rejected"].items()]
        if service.get("lost"):
            notes.append(f"  {name}: LOST {service['lost']:,}: gone from Kafka before they were read; the log says where")
        if service.get("collisions"):
            notes.append(f"  {name}: {service['collisions']:,} pairs of alerts have one row key, of which one is kept; the log names them")
        if service.get("backlog"):
            notes.append(f"  {name}: {service['backlog']:,} of the lag are a backlog, which comes in beside the new alerts")
        behind = max(service.get("lag_by", {}).items(), key=lambda pair: pair[1], default=("", 0))
        if behind[1]:
            notes.append(f"  {name}: {len(service['lag_by']):,} partitions; most wait in {behind[0]}: {behind[1]:,}")
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
    failed = [name for name, service in state["services"].items() if service["state"] == "failed"]
    meet = all(service["ok"] for service in state["services"].values()) and not state.get("account", {}).get("faults")
    verdict = "sums meet" if meet else "SUMS DO NOT MEET"
    if failed:
        verdict += f"; FAILED: {', '.join(failed)}"
    return "\n".join([*lines, *notes, *account, "", f"{state['disk_free_gb']:,} GB free on the disk", verdict])


def _up(seconds: int | None) -> str:
    return "-" if seconds is None else str(timedelta(seconds=seconds)).replace(" days, ", "d ").replace(" day, ", "d ")


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
