"""The archive service is killed in mid-batch, and so is the Thrift server: every cell is there once, as the alerts have it."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from pyspark.sql import functions as F

from fink_broker import config, surveys
from fink_broker.config import CHECKOUT
from fink_broker.config.sections import HBase
from fink_broker.connectors.hbase import Client
from fink_broker.infra import hbase, ports, processes
from fink_broker.monitoring import archived
from fink_broker.services import archive
from tests.integration.conftest import kill_tree
from tests.integration.test_archive import assert_tables_hold, science, sink

pytestmark = pytest.mark.integration

ZTF = surveys.get("ztf")
COPIES = 8


def start(conf: Path) -> "subprocess.Popen[str]":
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FINK_") or key == "FINK_SETUP"}
    argv = [sys.executable, "-m", "fink_broker.commands.start", "archive", "--once", "-c", str(conf)]
    return subprocess.Popen(argv, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait(until: Callable[[], bool], service: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 120
    while not until():
        assert service.poll() is None, service.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_killed_in_mid_batch_every_cell_is_there_once(spark, settings, hbase_server, tmp_path):
    host, port = hbase.address(settings)
    conf = tmp_path / "fink.conf"
    conf.write_text(
        f'home = "{tmp_path}/home"\n[wait]\nseconds = 60\n[archive]\nmax_files_per_trigger = 1\n'
        f'[hbase]\nthrift = "{host}:{port}"\ntable_prefix = "faults."\nbatch_cells = 500\n',
        encoding="utf-8",
    )
    here = config.load(str(conf), {})
    letters = "substring('abcdefghijklmnopqrstuvwxyz', n + 1, 1)"
    alerts = science(spark).crossJoin(spark.range(COPIES).toDF("n"))
    alerts = alerts.withColumns(
        {"candid": F.expr("candid + n"), "objectId": F.expr(f"concat(left(objectId, 11), {letters})"), "roid": F.expr("if(n = 1, 3, 0)")}
    ).withColumn(
        "candidate", F.expr("candidate").withField("jd", F.expr("candidate.jd + n / 1000")).withField("ssnamenr", F.col("objectId"))
    )
    alerts = alerts.drop("n").dropDuplicates(["objectId"]).localCheckpoint()
    sink(alerts.repartition(3), here.science, tmp_path / "scratch")
    total = alerts.count()
    moments = [random.randint(1, total // 3), random.randint(total // 2, total * 4 // 5)]

    with closing(Client(archive.place(here))) as client:

        def rows_there() -> int:
            return client.count("ztf") if "ztf" in client.tables() else 0

        service = start(conf)
        wait(lambda: rows_there() >= moments[0], service)
        kill_tree(service.pid)
        assert rows_there() < total, moments

        service = start(conf)
        wait(lambda: rows_there() >= moments[1], service)
        thrift = processes.find(settings, hbase.THRIFT)
        assert thrift is not None
        kill_tree(thrift.pid)
        wait(lambda: ports.is_free(port), service)
        hbase.start(settings.model_copy(update={"hbase": HBase(port=port)}))
        out, _ = service.communicate(timeout=120)
        assert service.returncode == 0, out

        found = assert_tables_hold(client, alerts, ZTF, here.archive_folder / "science")
    assert found["ztf"] == total
    written = archived.counts(here)
    assert (written.alerts, written.collisions) == (total, [])
    assert written.rows["ztf.cutouts"] == total
