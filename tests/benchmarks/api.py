"""How fast the REST API answers, over a table of generated alerts with all of ZTF's columns in a real HBase, on this machine.

Objects of 10 alerts are asked for, each by chance, with all columns (and those that are computed) and with ten: first so many times a
second as is the goal, whether answers come or not, then as fast as they come. Clients, dashboard and HBase share the cores.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import psutil

from fink_broker import query, surveys
from fink_broker.commands.bench import Figure, Report
from fink_broker.config import CHECKOUT, Settings
from fink_broker.connectors.hbase import SCHEMA_PREFIX, Row
from fink_broker.infra import hbase, ports, processes

ALERTS = 5_000
PER_OBJECT = 10
CLIENTS = 16
SECONDS = 15
TEN = "i:objectId,i:candid,i:jd,i:fid,i:magpsf,i:sigmapsf,i:ra,i:dec,d:cdsxmatch,d:rf_snia_vs_nonia"
GOALS = {"all columns": ("", 50.0), "ten columns": (TEN, 150.0)}
P99_MS = 250.0
_KINDS = {"int": "integer", "long": "long", "float": "float", "double": "double", "string": "string", "boolean": "boolean"}
_BYTES = {"integer": ">i4", "long": ">i8", "float": ">f4", "double": ">f8"}


def run(settings: Settings, alerts: int | None) -> Report:
    """Fill the table if it is not filled, and ask."""
    objects = (alerts or ALERTS) // PER_OBJECT
    place = settings.hbase.model_copy(update={"port": 0, "thrift": "local", "table_prefix": f"api{objects}."})
    settings = settings.model_copy(update={"hbase": place})
    hbase.start(settings)
    try:
        _fill(settings, objects)
        figures, lines = [], [f"{objects:,} objects of {PER_OBJECT} alerts with {len(kinds())} columns; {CLIENTS} clients"]
        with _dashboard(settings) as (port, process):
            _asked(port, objects, "", 20.0, 3.0)  # what is loaded at the first questions
            for what, (columns, pace) in GOALS.items():
                before = _cpu(process)
                took, seconds = _asked(port, objects, columns, pace, SECONDS)
                cpu = (_cpu(process) - before) / len(took) * 1_000
                rate, p99 = len(took) / seconds, float(np.percentile(took, 99)) * 1_000
                fastest, _ = _asked(port, objects, columns, 0.0, SECONDS)
                figures += [
                    Figure(f"{what}, asked {pace:g} times a second", rate, "answers/s", pace * 0.98),
                    Figure(f"{what}, p99", p99, "ms", P99_MS, at_most=True),
                    Figure(f"{what}, CPU of the dashboard", cpu, "ms/answer"),
                    Figure(f"{what}, as fast as answered", len(fastest) / SECONDS, "answers/s"),
                ]
                p50, most = float(np.percentile(took, 50)) * 1_000, len(fastest) / SECONDS
                times = f"p50 {p50:5.1f} ms, p99 {p99:5.1f} ms, CPU {cpu:4.1f} ms"
                lines.append(f"{what}: {rate:5.1f} /s, {times}; at most {most:5.1f} /s")
        return Report(figures, "\n".join(lines))
    finally:
        processes.stop(settings, hbase.NAME, say=lambda line: None)


def kinds() -> dict[str, str]:
    """Columns of the main table, with their types."""
    from fink_broker.surveys.ztf.science import FINK_COLUMNS

    schema = json.loads((surveys.get("ztf").schemas / "4.02.avsc").read_text(encoding="utf-8"))
    candidate = next(field for field in schema["fields"] if field["name"] == "candidate")["type"]
    types = {field["name"]: field["type"] if isinstance(field["type"], str) else field["type"][-1] for field in candidate["fields"]}
    found = {"i:objectId": "string", "i:candid": "long"} | {f"i:{name}": _KINDS.get(kind, "string") for name, kind in types.items()}
    return found | {f"d:{name}": _KINDS.get(column.type, "string") for name, column in FINK_COLUMNS.items()}


def _name(number: int) -> str:
    return "ZTF18a" + f"{number:06d}".translate(str.maketrans("0123456789", "abcdefghij"))


def _fill(settings: Settings, objects: int) -> None:
    rng, columns = np.random.default_rng(1), kinds()
    with query.Tables(settings) as tables:
        tables.reader.create({"ztf": ("i", "d")})
        if tables.reader.row("ztf", _row(objects - 1, PER_OBJECT - 1, columns, np.random.default_rng(1)).key):
            return
        schema = {name.encode(): kind.encode() for name, kind in columns.items()}
        tables.reader.write("ztf", [Row(SCHEMA_PREFIX + b"1", 1, schema)])
        tables.reader.write("ztf", (_row(n, m, columns, rng) for n in range(objects) for m in range(PER_OBJECT)))


def _row(number: int, alert: int, columns: dict[str, str], rng: np.random.Generator) -> Row:
    jd = 2_461_000.5 + alert + number % 1_000 / 1_009
    values: dict[str, object] = {"i:objectId": _name(number), "i:candid": 10**18 + number * 100 + alert, "i:jd": jd, "i:fid": 1 + alert % 2}
    values |= {"i:jdstarthist": 2_461_000.0, "i:ra": number * 360 / 1_000_000, "i:dec": 10.0, "d:cdsxmatch": "Unknown", "d:tracklet": ""}
    cells = {}
    for name, kind in columns.items():
        value = values.get(name, "a text" if kind == "string" else "true" if kind == "boolean" else rng.uniform(0, 1))
        cells[name.encode()] = np.array(value, _BYTES[kind]).tobytes() if kind in _BYTES else str(value).encode()
    return Row(f"{_name(number)}_{jd}".encode(), 1, cells)


@contextmanager
def _dashboard(settings: Settings) -> Iterator[tuple[int, psutil.Process]]:
    conf, port = settings.root / "api.conf", ports.free()
    here = settings.hbase
    text = f'home = "{settings.root}"\n[hbase]\nport = 0\ntable_prefix = "{here.table_prefix}"\n[dashboard]\nrate_per_second = 0\n'
    conf.write_text(text, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT), "FINK_CONF": str(conf), "FINK__HOME": str(settings.root)}
    process = subprocess.Popen([sys.executable, "-P", "-m", "fink_broker.web.serve", str(port)], env=environment)
    try:
        while not ports.answers(port) and process.poll() is None:
            time.sleep(0.05)
        yield port, psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def _cpu(process: psutil.Process) -> float:
    """Seconds of CPU that a process has used."""
    times = process.cpu_times()
    return float(times.user + times.system)


def _asked(port: int, objects: int, columns: str, pace: float, seconds: float) -> tuple[list[float], float]:
    """How long each answer took, from when it was to be asked for, in seconds; and how long all did."""
    took: list[float] = []
    begin = time.monotonic() + 0.2

    def client(seed: int) -> None:
        rng, connection, number = np.random.default_rng(seed), http.client.HTTPConnection("127.0.0.1", port, timeout=60), 0
        while True:
            # Each client asks in its turn.
            due = begin + (number * CLIENTS + seed) / pace if pace else time.monotonic()
            if due >= begin + seconds:
                return
            time.sleep(max(0.0, due - time.monotonic()))
            body = json.dumps({"objectId": _name(int(rng.integers(objects))), "columns": columns})
            connection.request("POST", "/api/v1/objects", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
            took.append(time.monotonic() - due)
            assert (answer.status, content.count(b'"i:objectId"')) == (200, PER_OBJECT), content[:300]
            number += 1

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(CLIENTS)))
    return took, time.monotonic() - begin
