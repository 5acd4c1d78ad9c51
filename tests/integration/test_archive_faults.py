"""The archive service, the servers that it writes to, and merges are killed in the middle: every alert is everywhere once, cell by cell.

``pytest tests/integration/test_archive_faults.py --kills 10`` kills oftener than there is time for in a run of all tests, which leaves it
at one service, its servers, and the steps of merges within one process (tests/services).
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fink_broker import config, surveys
from fink_broker.config import CHECKOUT
from fink_broker.config.sections import HBase
from fink_broker.connectors import archive as parquet_archive
from fink_broker.connectors import parquet
from fink_broker.connectors.hbase import Client
from fink_broker.infra import hbase, processes
from fink_broker.monitoring import archived
from fink_broker.services import archive
from fink_broker.services.merge import merge, pending
from tests.integration.conftest import kill_tree
from tests.integration.test_archive import assert_tables_hold, narrow, science, sink
from tests.services import nights
from tests.services.nights import NIGHT, Sink, candids, raw_alerts, science_alerts

pytestmark = pytest.mark.integration

ZTF = surveys.get("ztf")
SEED = 7
# Every alert has a row of its own in each: the first and the last to be written of a batch among them.
WRITTEN = ("ztf", "ztf.class", "ztf.cutouts")
MODULE = "from fink_broker.science import outputs\n\n@outputs(double='bigint')\ndef doubled(candid):\n    return 2 * candid\n"


def start(command: str, *arguments: str, conf: Path) -> "subprocess.Popen[str]":
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FINK_") or key == "FINK_SETUP"}
    argv = [sys.executable, "-m", f"fink_broker.commands.{command}", *arguments, "-c", str(conf)]
    return subprocess.Popen(argv, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait(until: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 240
    while not until():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def night(real: DataFrame, copies: int) -> DataFrame:
    """Copies of alerts, each of an object of its own, some of them asteroids."""
    letters = "'abcdefghijklmnopqrstuvwxyz'"
    name = f"concat(left(objectId, 10), substring({letters}, n div 26 + 1, 1), substring({letters}, n % 26 + 1, 1))"
    alerts = real.crossJoin(real.sparkSession.range(copies).toDF("n"))
    alerts = alerts.withColumns(
        {"candid": F.expr("candid + n"), "objectId": F.expr(name), "roid": F.expr("if(n % 8 = 1, 3, 0)")}
    ).withColumn(
        "candidate", F.expr("candidate").withField("jd", F.expr("candidate.jd + n / 1000")).withField("ssnamenr", F.col("objectId"))
    )
    return alerts.drop("n").dropDuplicates(["objectId"]).localCheckpoint()


def test_service_thrift_and_region_server_are_killed_and_every_cell_is_there_once(spark, settings, hbase_server, tmp_path, kills):
    host, port = hbase.address(settings)
    conf = tmp_path / "fink.conf"
    conf.write_text(
        f'home = "{tmp_path}/home"\n[wait]\nseconds = 60\n[archive]\nmax_files_per_trigger = 1\n'
        f'[hbase]\nthrift = "{host}:{port}"\ntable_prefix = "faults."\nbatch_cells = 500\n',
        encoding="utf-8",
    )
    here, chance = config.load(str(conf), {}), random.Random(SEED)
    alerts = night(science(spark) if kills > 1 else narrow(spark), 2 * (kills + 2))
    total = alerts.count()
    sink(alerts.repartition(kills + 2), here.science, tmp_path / "scratch")

    # When so many rows are in one of the tables: the services first, then the servers under a running service.
    *services, one, other = [(chance.choice(WRITTEN), round(total * (step + chance.random()) / (kills + 3))) for step in range(kills + 2)]
    servers = {one: [hbase.THRIFT], other: [hbase.NAME]} if kills > 1 else {other: [hbase.THRIFT, hbase.NAME]}
    with closing(Client(archive.place(here))) as client:

        def reached(moment: tuple[str, int]) -> Callable[[], bool]:
            table, rows = moment
            return lambda: table in client.tables() and client.count(table) >= rows

        for moment in services:
            service = start("start", "archive", "--once", conf=conf)
            wait(reached(moment), service)
            kill_tree(service.pid)
            print(f"killed at {client.count(moment[0])} of {total} rows in {moment[0]}")

        service = start("start", "archive", "--once", conf=conf)
        for moment, names in servers.items():
            wait(reached(moment), service)
            for running in [processes.find(settings, name) for name in names]:
                assert running is not None
                kill_tree(running.pid)
            print(f"{' and '.join(names)} killed at {moment}")
            hbase.start(settings.model_copy(update={"hbase": HBase(port=port)}))
        out, _ = service.communicate(timeout=240)
        assert service.returncode == 0, out

        found = assert_tables_hold(client, alerts, ZTF, here.archive_folder / "science")
    assert found["ztf"] == total
    written = archived.counts(here)
    assert (written.alerts, written.collisions) == (total, [])
    assert written.rows["ztf.cutouts"] == total


def test_merge_and_reprocess_are_killed_and_the_night_is_the_old_one_or_the_new_one(spark, tmp_path, kills):
    if kills == 1:
        pytest.skip("real merges are killed with --kills 2 and more")
    conf, own = tmp_path / "fink.conf", tmp_path / "own.py"
    own.write_text(MODULE, encoding="utf-8")
    modules = f'[[science.modules]]\nname = "doubled"\nfunction = "{own}:doubled"\n[raw2science]\nmodules = []\n'
    conf.write_text(f'home = "{tmp_path}/home"\n{modules}', encoding="utf-8")
    home, chance = config.load(str(conf), {}), random.Random(SEED)
    raw = Sink(spark, home.raw, tmp_path / "raw", ["status", "night"])
    fresh = Sink(spark, home.science, tmp_path / "science", ["night"])
    then = ("timestamp'2026-03-22 12:15:00' as brokerEndProcessTimestamp", "'1.0' as fink_science_version")
    parquet.publish(home.raw, raw_alerts(spark, 0, 1).schema)
    raw.append(raw_alerts(spark, 0, 30))
    fresh.append(science_alerts(spark, 0, 10, extra=then))
    merge(spark, home, ZTF, NIGHT)
    making = parquet_archive.new(parquet_archive.folder(home, "science", NIGHT))
    count = 10

    def outcome() -> tuple[list[int], int]:
        """Alerts of the archive, and how many of them have been processed anew."""
        rows = nights.archived(spark, home, "science")
        anew = rows.where("fink_science_version <> '1.0'").count()
        assert "double" not in rows.columns or rows.where("double <> 2 * candid").count() == 0
        return candids(rows), anew

    for number, command in enumerate((["merge", "reprocess"] * kills)[: kills - 1]):
        before = outcome()
        if command == "merge":
            fresh.append(science_alerts(spark, count, count + 5, extra=then))
            count += 5
        process = start(command, "--night", NIGHT, conf=conf)
        # It writes; then whatever comes next: more of that, checksums, the note, the change of names.
        wait(making.exists, process)
        time.sleep(chance.uniform(0, 1.5))
        kill_tree(process.pid)
        found = outcome()
        whole = {"merge": (list(range(count)), before[1]), "reprocess": (list(range(count)), count)}[command]
        print(f"{number}: {command} killed; {'the new' if found == whole else 'the old'} night is there")
        # What was to be reprocessed is merged first.
        assert found in (before, whole, (list(range(count)), before[1]))
    processed = outcome()[1]
    assert merge(spark, home, ZTF, NIGHT) == {"raw": 30, "science": count}
    assert outcome() == (list(range(count)), processed)
    assert candids(nights.archived(spark, home, "raw")) == list(range(30))
    assert pending(home) == []
    assert json.loads((home.archive_folder / "science/year=2026/month=03/day=22/_merge.json").read_text())["rows"] == count
