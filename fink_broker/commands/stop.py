"""fink stop: end services and servers, and wait until they have ended."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from fink_broker import config
from fink_broker.commands import Parser, run
from fink_broker.config import Settings
from fink_broker.errors import UsageError
from fink_broker.infra import processes
from fink_broker.infra.processes import Running
from fink_broker.services import registry

# A service finishes its batch first.
_TIMEOUT_S = 120.0


def main(argv: list[str] | None = None) -> int:
    """Stop what is named: services first and side by side, then the servers that they use.

    Raises
    ------
    UsageError
        There is no such service.
    """
    parser = Parser("stop")
    parser.add_argument("names", nargs="+", metavar="SERVICE")
    arguments = parser.parse_args(argv)

    settings = config.load(arguments.conf)
    known = registry.known(settings)
    servers = {name for name, entry in known.items() if entry.kind == "server"}
    running = {one.name: one for one in processes.all_running(settings) if one.part_of is None}
    names = [registry.ALIASES.get(name, name) for name in arguments.names]
    chosen = _chosen(names, set(known), servers, running)
    if not chosen:
        _say("nothing to stop")
    _stop(settings, running, [name for name in chosen if name not in servers])
    _stop(settings, running, [name for name in chosen if name in servers])
    return 0


def _chosen(names: list[str], known: set[str], servers: set[str], running: Iterable[str]) -> list[str]:
    """Names to stop, each once: those given, with ``services`` and ``all`` spelled out."""
    chosen: dict[str, None] = {}
    for name in names:
        if name == "all":
            chosen.update(dict.fromkeys(running))
        elif name == "services":
            chosen.update(dict.fromkeys(one for one in running if one not in servers))
        elif name in known or name in running:
            chosen[name] = None
        else:
            raise UsageError(f"unknown service '{name}'; known: {', '.join(sorted(known))}; or: services, all")
    return list(chosen)


def _stop(settings: Settings, running: dict[str, Running], names: list[str]) -> None:
    """Stop names side by side, but each process only once."""
    processes_to_end = {running[name].pid if name in running else name: name for name in names}
    with ThreadPoolExecutor(max_workers=max(1, len(processes_to_end))) as pool:
        list(pool.map(lambda name: processes.stop(settings, name, _TIMEOUT_S, _say), processes_to_end.values()))


def _say(line: str) -> None:
    """Print a line at once and in one piece, whatever the other threads say."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    run(main)
