"""fink start: servers, services and the simulator."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from fink_broker import config, log
from fink_broker.commands import Parser, parse_night, run
from fink_broker.config import CHECKOUT, Settings
from fink_broker.errors import FinkError, UsageError
from fink_broker.infra import failures, kafka, kafka_security, processes
from fink_broker.infra.detach import detach
from fink_broker.infra.servers import SERVERS
from fink_broker.services import registry, waiting
from fink_broker.services.context import RunOptions
from fink_broker.services.registry import ServiceEntry

# How long to wait for the first sign of life; and for that, where it waits for a server.
_DETACH_S, _PATIENCE_S = 60.0, 5.0


def main(argv: list[str] | None = None) -> int:
    """Start what the command line names, servers first, and run services in the foreground unless told to detach."""
    arguments = _arguments(argv)
    settings = config.load(arguments.conf)
    if arguments.survey:
        settings = settings.model_copy(update={"survey": arguments.survey})
    if arguments.secure:
        settings = _secured(settings, arguments.services)
    entries = registry.find(arguments.services, settings)
    _check_together(entries)
    servers = [entry for entry in entries if entry.kind == "server"]
    if servers and arguments.conf:
        # The dashboard reads it by itself.
        os.environ["FINK_CONF"] = str(Path(arguments.conf).resolve())
    _start_servers(servers, settings)
    rest = [entry for entry in entries if entry.kind != "server"]
    for entry in rest:
        running = processes.find(settings, entry.name)
        if running:
            raise FinkError(f"{entry.name} runs already, pid {running.pid}: fink stop {entry.name}")
        if entry.source.endswith(".py"):
            entry.module()  # what is wrong with a file of one's own is said here, also where the service is to detach
    if not rest:
        return 0
    if arguments.detach:
        return _detach(rest, arguments, settings)
    log.to_file(_log(rest, settings))
    try:
        return _foreground(rest, arguments, settings)
    except Exception as error:
        for entry in rest:
            failures.note(settings, entry.name, str(error))
        if isinstance(error, FinkError):
            logging.getLogger(__name__).exception("%s failed", ", ".join(entry.name for entry in rest))
        raise


def _check_together(entries: Sequence[ServiceEntry]) -> None:
    """Whether services can share a process.

    Raises
    ------
    UsageError
        One cannot.
    """
    lasting = [entry for entry in entries if entry.kind in ("stream", "client")]
    for entry in lasting:
        if entry.kind == "client" and len(lasting) > 1:
            raise UsageError(f"{entry.name} is no part of a Spark application: fink start {entry.name}, on its own")


def _secured(settings: Settings, services: Sequence[str]) -> Settings:
    """The settings with security switched on for the embedded Kafka.

    Raises
    ------
    UsageError
        It is not to be started.
    """
    if kafka.NAME not in services:
        raise UsageError("--secure is for kafka: fink start kafka --secure")
    embedded = settings.kafka.embedded.model_copy(update={"secure": True})
    return settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"embedded": embedded})})


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser("start")
    parser.add_argument("services", nargs="+", metavar="SERVICE")
    parser.add_argument("-s", "--survey")
    parser.add_argument("--simulator", action="store_true")
    parser.add_argument("--night", type=parse_night)
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--exit-after", type=float)
    parser.add_argument("--secure", action="store_true")
    parser.add_argument("-d", "--detach", action="store_true")
    arguments = parser.parse_args(argv)
    return arguments


def _log(entries: Sequence[ServiceEntry], settings: Settings) -> Path:
    """The log of services that share a process: where Spark logs too, that of the first of them that needs it."""
    return settings.log(next((entry.name for entry in entries if entry.kind == "stream"), entries[0].name))


def _start_servers(entries: Sequence[ServiceEntry], settings: Settings) -> None:
    """Start servers side by side; one that runs already prints where it is."""
    for entry in entries:
        SERVERS[entry.name].prepare()
    before = {entry.name: processes.find(settings, entry.name) for entry in entries}
    with ThreadPoolExecutor() as pool:
        started = {entry.name: pool.submit(SERVERS[entry.name].start, settings) for entry in entries}
    for name, future in started.items():
        running = future.result()
        state = "runs already" if before[name] else "started"
        print(f"{name} {state} at {running.address}, pid {running.pid}; log: {settings.log(name)}", flush=True)
        if name == kafka.NAME and kafka.is_secured(running):
            print(kafka_security.how_to_connect(settings), flush=True)


def _foreground(entries: Sequence[ServiceEntry], arguments: argparse.Namespace, settings: Settings) -> int:
    # Spark is imported only where it is needed: servers and the simulator start without.
    for task in (entry for entry in entries if entry.kind == "task"):
        processes.register(settings, task.name)
        processes.note(settings, [task.name], processes.RUNNING)
        try:
            code: int = task.module().run(settings, arguments.night)
        finally:
            processes.unregister(settings, task.name)
        if code:
            return code
    lasting = [entry for entry in entries if entry.kind in ("stream", "client")]
    # Registered before the imports, so that a stop in these first moments finds them.
    with ExitStack() as stack:
        for entry in lasting:
            processes.register(settings, entry.name)
            stack.callback(processes.unregister, settings, entry.name)
        if lasting:
            _run(lasting, arguments, settings)
    return 0


def _run(entries: Sequence[ServiceEntry], arguments: argparse.Namespace, settings: Settings) -> None:
    options = RunOptions(once=arguments.once, night=arguments.night, simulator=arguments.simulator)
    stop = waiting.Stop(arguments.exit_after)
    names = ", ".join(entry.name for entry in entries)
    print(f"{names} starting; log: {_log(entries, settings)}; Ctrl-C ends", flush=True)
    if entries[0].kind == "stream":
        from fink_broker.services import runner  # with Spark

        runner.run(entries, settings, options, stop, lambda _: print(f"{names} started", flush=True))
    else:
        with stop.on_signals():
            if waiting.await_servers(entries, settings, options, stop):
                processes.note(settings, [entry.name for entry in entries], processes.RUNNING)
                print(f"{names} started", flush=True)
                entries[0].module().run(settings, options, stop)
    print(f"{names} ended", flush=True)


def _detach(entries: Sequence[ServiceEntry], arguments: argparse.Namespace, settings: Settings) -> int:
    """Start again without the terminal, and wait until the new process works, waits for a server, or has ended."""
    options = [] if arguments.conf is None else ["--conf", arguments.conf]
    options += [] if arguments.survey is None else ["--survey", arguments.survey]
    options += [] if arguments.night is None else ["--night", arguments.night]
    options += [] if arguments.exit_after is None else ["--exit-after", str(arguments.exit_after)]
    options += ["--simulator"] * arguments.simulator + ["--once"] * arguments.once
    names = [entry.name for entry in entries]
    output = _log(entries, settings)
    command = [sys.executable, "-m", "fink_broker.commands.start", *names, *options]
    pid = detach(command, output, os.environ | {"PYTHONPATH": str(CHECKOUT)})
    begun = time.monotonic()
    while time.monotonic() < begun + _DETACH_S:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return _ended(names, os.waitstatus_to_exitcode(status), settings)
        doing = {one.doing for name in names if (one := processes.find(settings, name)) and one.pid == pid}
        if processes.RUNNING in doing:
            print(f"{', '.join(names)} started, pid {pid}; log: {output}")
            return 0
        if doing - {processes.STARTING} and time.monotonic() > begun + _PATIENCE_S:
            break
        time.sleep(0.05)
    print(f"{', '.join(names)} {' '.join(doing) or processes.STARTING}, pid {pid}; fink status says whether it runs; log: {output}")
    return 0


def _ended(names: Sequence[str], code: int, settings: Settings) -> int:
    """The exit code of what has ended already: with --once, or with nothing to do, that may be well.

    Raises
    ------
    FinkError
        It failed.
    """
    if code == 0:
        print(f"{', '.join(names)} started and ended")
        return 0
    reason = next((failure.reason for name in names if (failure := failures.find(settings, name))), f"exit code {code}")
    raise FinkError(f"{', '.join(names)} did not start: {reason}")


if __name__ == "__main__":
    run(main)
