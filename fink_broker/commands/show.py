"""fink show: which services and servers of this HOME run."""

from __future__ import annotations

import time

import psutil

from fink_broker import config
from fink_broker.commands import Parser, run
from fink_broker.infra import processes
from fink_broker.infra.processes import Running

_COLUMNS = ("USER", "PID", "%CPU", "%MEM", "STARTED", "TIME", "SERVICE", "ADDRESS")
_RIGHT = {"PID", "%CPU", "%MEM", "TIME"}


def main(argv: list[str] | None = None) -> int:
    """Print a table of what runs; processor time and memory are those of each process with its children."""
    parser = Parser("show")
    arguments = parser.parse_args(argv)

    running = processes.all_running(config.load(arguments.conf))
    rows = [row for row in map(_row, running) if row]
    # Helpers are shown, but a server with its helpers counts once.
    print(f"{sum(one.part_of is None for one in running)} Fink service(s) running")
    if rows:
        print(_table([_COLUMNS, *rows]))
    print("Use <fink stop service_name> to stop a service.")
    print("Use <fink start dashboard> to start the dashboard or check its status.")
    return 0


def _row(running: Running) -> tuple[str, ...] | None:
    """Columns as ``ps`` shows them; None if the process has just ended."""
    try:
        user = psutil.Process(running.pid).username()
        usage = processes.tree_usage(running.pid)
    except psutil.NoSuchProcess:
        return None
    elapsed = max(time.time() - running.create_time, 1.0)
    return (
        user,
        str(running.pid),
        f"{100 * usage.cpu_s / elapsed:.1f}",
        f"{100 * usage.rss / psutil.virtual_memory().total:.1f}",
        _started(running.create_time),
        f"{int(usage.cpu_s // 60)}:{int(usage.cpu_s % 60):02d}",
        running.name,
        running.address or "-",
    )


def _started(when: float) -> str:
    """The time of day, or the date of what has been running for longer than a day."""
    long_ago = time.time() - when > 86_400
    return time.strftime("%b%d" if long_ago else "%H:%M", time.localtime(when))


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        " ".join(
            cell.rjust(width) if title in _RIGHT else cell.ljust(width) for title, width, cell in zip(_COLUMNS, widths, row, strict=True)
        ).rstrip()
        for row in rows
    )


if __name__ == "__main__":
    run(main)
