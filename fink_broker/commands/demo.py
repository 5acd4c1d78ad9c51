"""fink demo: the whole broker on this machine, from nothing to proof by reading back."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from pyspark.sql.streaming.query import StreamingQuery

from fink_broker import config, log
from fink_broker.commands import Parser, positive, report, run, start
from fink_broker.commands import config as config_command
from fink_broker.commands.progress import Progress
from fink_broker.commands.report import Result
from fink_broker.config import Settings
from fink_broker.connectors.hbase import Client
from fink_broker.errors import FinkError, SumsDoNotMeet
from fink_broker.infra import kafka, processes
from fink_broker.infra.servers import SERVERS
from fink_broker.monitoring.counts import Books, Counts
from fink_broker.monitoring.memory import PeakMemory
from fink_broker.monitoring.proof import prove
from fink_broker.services import archive, merge, registry, runner, simulator, waiting
from fink_broker.services.context import Context, RunOptions
from fink_broker.surveys import Survey

SERVICES = ("stream2raw", "raw2science", "distribution", "archive")
_SERVERS = ("kafka", "hbase")
_PATIENCE_S = 180.0  # without any progress
_POLL_S = 0.5


def main(argv: list[str] | None = None) -> int:
    """Run the demo.

    Raises
    ------
    SumsDoNotMeet
        Something is missing, or there twice.
    """
    parser = Parser("demo")
    parser.add_argument("--alerts", type=positive, default=300)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keep", action="store_true")
    arguments = parser.parse_args(argv)
    settings = _settings(config.load(arguments.conf), arguments.alerts)
    log.to_file(settings.log(SERVICES[0]))
    progress = Progress(sys.stdout)
    with ExitStack() as stack:
        memory = stack.enter_context(PeakMemory(lambda: [os.getpid(), *(running.pid for running in processes.all_running(settings))]))
        if not arguments.keep:
            stack.callback(_stop_servers, settings, progress)
        _start_servers(settings, progress)
        result = _run(settings, progress)
    result.peak_memory = memory.peak
    print(report.table(result))
    if arguments.keep:
        _keep(settings)
    if arguments.json:
        print(json.dumps(report.figures(result)))
    if result.proof.faults:
        raise SumsDoNotMeet("; ".join(result.proof.faults))
    return 0


def _settings(base: Settings, alerts: int) -> Settings:
    """Settings of a home of its own, with free ports and short triggers; the user's plug-ins stay. What an earlier demo left goes."""
    values = base.model_dump(mode="json")
    home = base.root / "demo"
    values["home"] = str(home)
    values["kafka"] = {"embedded": {"port": 0, "heap": base.kafka.embedded.heap}}
    values["hbase"] |= {"thrift": "local", "port": 0, "table_prefix": ""}
    values["simulator"]["alerts"] = alerts
    for service in SERVICES:
        values[service]["trigger_seconds"] = 1.0
    settings = Settings.model_validate(values)
    for running in reversed(processes.all_running(settings)):
        processes.stop(settings, running.name, say=lambda line: None)
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    _conf(settings).write_text(config_command.toml(settings.model_dump(mode="json", exclude_defaults=True)), encoding="utf-8")
    return settings


def _conf(settings: Settings) -> Path:
    return settings.root / "fink.conf"


def _start_servers(settings: Settings, progress: Progress) -> None:
    with progress.step("starting Kafka and HBase"), ThreadPoolExecutor() as pool:
        for started in [pool.submit(SERVERS[name].start, settings) for name in _SERVERS]:
            started.result()


def _stop_servers(settings: Settings, progress: Progress) -> None:
    with progress.step("stopping Kafka and HBase"), ThreadPoolExecutor() as pool:
        for name in _SERVERS:
            pool.submit(processes.stop, settings, name, say=lambda line: None)


def _run(settings: Settings, progress: Progress) -> Result:
    """Run the services as `fink start` does, here in the foreground; a thread beside them sends the night and proves it, then ends them."""
    stop, results, errors = waiting.Stop(), list[Result](), list[BaseException]()
    starting, running = ExitStack(), threading.Thread()

    def night(context: Context) -> None:
        try:
            results.append(_night(context, stop, progress))
        except BaseException as error:  # noqa: BLE001 - raised again below, in the thread that can end the program
            errors.append(error)
        finally:
            stop.set()

    def started(context: Context) -> None:
        nonlocal running
        starting.close()
        running = threading.Thread(target=night, args=[context])
        running.start()

    try:
        with starting:
            starting.enter_context(progress.step("starting the services"))
            runner.run(registry.find(SERVICES, settings), settings, RunOptions(simulator=True), stop, started)
    finally:
        stop.set()
        if running.ident:
            running.join()
    if errors:
        raise errors[0]
    return results[0]


def _night(context: Context, stop: waiting.Stop, progress: Progress) -> Result:
    """Send a night, wait until every service has worked it off, merge it, and read it all back."""
    settings, survey, spark = context.settings, context.survey, context.spark
    night = simulator.tonight()
    with progress.step("sending a night"):
        sent = simulator.send(settings, night)
    with progress.step("working it off") as say:
        stages = _worked_off(settings, survey, sent.alerts, stop, say)
    seconds = {query.name: _seconds(query) for query in spark.streams.active}
    with progress.step("merging the night"):
        merge.merge(spark, settings, survey, night)
    with progress.step("proof") as say, Client(archive.place(settings)) as client:
        users = kafka.connection(settings, settings.kafka.output)
        ids = simulator.ids(settings, night)
        proof = prove(ids, spark=spark, settings=settings, survey=survey, connection=users, client=client, say=say)
    return Result(night, sent, stages, seconds, proof)


def _worked_off(settings: Settings, survey: Survey, sent: int, stop: waiting.Stop, say: Callable[[str], None]) -> dict[str, Counts]:
    """Wait until all that was sent has gone through every service.

    Raises
    ------
    FinkError
        It does not go on, or the end was asked for.
    """
    before, changed = "", time.monotonic()
    while True:
        books = Books(settings, survey)
        stages = {name: books.of(name) for name in SERVICES}
        text = ", ".join(f"{name} {stage.taken:,}" for name, stage in stages.items())
        say(text)
        if stages["stream2raw"].taken >= sent and not any(stage.lag for stage in stages.values()):
            return stages
        if text != before:
            before, changed = text, time.monotonic()
        if time.monotonic() - changed > _PATIENCE_S:
            raise FinkError(f"no progress for {_PATIENCE_S:g} s ({text}); the log is {settings.log(SERVICES[0])}")
        if stop.wait(_POLL_S):
            raise FinkError("the demo was ended before it was done")


def _seconds(query: StreamingQuery) -> float:
    """Time that a query spent on batches with alerts in them."""
    batches = [int(batch["durationMs"]["triggerExecution"]) for batch in query.recentProgress if batch["numInputRows"]]
    return sum(batches) / 1000


def _keep(settings: Settings) -> None:
    """Start the services again, detached, on what the demo has left, and say what to look at."""
    conf = str(_conf(settings))
    # The variables would win over the demo's own configuration, which has their values.
    variables = list(config.variables(os.environ))
    for variable in variables:
        del os.environ[variable]
    start.main([*SERVICES, "--simulator", "-d", "-c", conf])
    option = f"-c {shlex.quote(conf)}"
    fink = shlex.quote(str(config.CHECKOUT / "bin" / "fink"))
    fink = " ".join(["env", *(f"-u {variable}" for variable in variables), fink]) if variables else fink
    print(
        f"""
Everything is running. Next:
  {fink} show {option}
  {fink} status {option}
  {fink} start dashboard {option}     (pages in a browser)
  {fink} start simulator --night 20260322 {option}     (sends another night)
  {fink} stop all {option}
Alerts are in {settings.root / "data"}; users' Kafka is {kafka.connection(settings, settings.kafka.output)}."""
    )


if __name__ == "__main__":
    run(main)
