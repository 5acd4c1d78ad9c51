"""fink rejected: what was not taken in, by reason; one of them with all that is known of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fink_broker import config
from fink_broker.commands import Parser, parse_night, run
from fink_broker.config import Settings
from fink_broker.connectors import replay
from fink_broker.connectors.replay import Rejected
from fink_broker.errors import UsageError


@dataclass
class Reason:
    """The messages that were rejected for one reason: how many, and the first and the last of them."""

    count: int
    first: Rejected
    last: Rejected


def main(argv: list[str] | None = None) -> int:
    """List rejected messages by reason, or show one."""
    parser = Parser("rejected")
    parser.add_argument("--night", type=parse_night)
    parser.add_argument("--reason")
    parser.add_argument("--show", metavar="TOPIC/PARTITION/OFFSET")
    parser.add_argument("--save", metavar="FILE", type=Path)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    settings = config.load(arguments.conf)
    if arguments.show:
        _show(_find(settings, arguments.show), arguments.save)
        return 0
    found = by_reason(select(settings, arguments.night, arguments.reason))
    if arguments.json:
        print(json.dumps({"ok": True, "rejected": {reason: one.count for reason, one in found.items()}}))
        return 0
    for reason, one in sorted(found.items(), key=lambda pair: -pair[1].count):
        print(f"{one.count:>10,}  {reason}\n{'':>12}last: {place(one.last)}, {moment(one.last)}")
    print(f"{sum(one.count for one in found.values()):>10,}  in all" + ("; fink rejected --show PLACE shows one" if found else ""))
    return 0


def select(settings: Settings, night: str | None = None, reason: str | None = None) -> Iterable[Rejected]:
    """Rejected messages that wait, of one night of arrival and with a text in their reason."""
    waiting = replay.rejected(settings.raws, settings.replay)
    return (one for one in waiting if (night is None or one.night == night) and (reason is None or reason in one.reason))


def by_reason(messages: Iterable[Rejected]) -> dict[str, Reason]:
    """Count and examples by reason."""
    found: dict[str, Reason] = {}
    for one in messages:
        known = found.setdefault(one.reason, Reason(0, one, one))
        known.count, known.last = known.count + 1, one
    return found


def place(one: Rejected) -> str:
    """Where a message is, as `--show` takes it."""
    return f"{one.topic}/{one.partition}/{one.offset}"


def moment(one: Rejected) -> str:
    """When it came to Kafka."""
    return "time unknown" if one.time is None else f"{one.time:%Y-%m-%d %H:%M:%S} UTC"


def _find(settings: Settings, wanted: str) -> list[Rejected]:
    found = [one for one in select(settings) if place(one) == wanted]
    if not found:
        raise UsageError(f"no rejected message is at {wanted}: fink rejected lists some places")
    return found


def _show(found: list[Rejected], file: Path | None) -> None:
    for one in found:
        print(f"{place(one)}, {moment(one)}, night of arrival {one.night}\nreason: {one.reason}\n{len(one.value):,} bytes:")
        for start in range(0, min(len(one.value), 128), 16):
            line = one.value[start : start + 16]
            print(f"  {start:04x}  {line.hex(' '):<47}  {''.join(chr(byte) if 32 <= byte < 127 else '.' for byte in line)}")
    if file is not None:
        file.write_bytes(found[-1].value)
        print(f"written to {file}")


if __name__ == "__main__":
    run(main)
