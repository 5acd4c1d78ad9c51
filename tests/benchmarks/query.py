"""How fast the query layer answers many clients at once, over a table of generated alerts in a real HBase.

16 clients, each a process with a connection of its own, ask for objects (10 alerts of 20 columns) and for cones of 5 arcmin (some 20
objects among 200 of their pixels): first each so many times a second, as people at a portal do, then each as fast as it is answered.
Meanwhile the archive writes 100 alerts of real size a second into all tables of the same HBase.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from itertools import product
from pathlib import Path

import numpy as np
from astropy import units
from astropy.coordinates import Latitude, Longitude
from cdshealpix.ring import lonlat_to_healpix
from pyspark.sql import functions as F

from fink_broker import query, surveys
from fink_broker.commands.bench import Figure, Report
from fink_broker.config import Settings
from fink_broker.connectors.hbase import SCHEMA_PREFIX, Row
from fink_broker.infra import hbase, processes
from fink_broker.services import archive
from fink_broker.session import session
from tests.benchmarks import _alerts
from tests.benchmarks._feed import Feed
from tests.benchmarks._measure import lines as measured

CLIENTS = 16
PACE = 5.0  # questions a second and client
QUESTIONS = 100  # of each client
ALERTS = 1_000_000
FEED_RATE = 100  # alerts a second
_FED = 8_000  # alerts that the feed uses again and again
_WARM, _MEASURED = 40, 100  # seconds
PER_OBJECT = 10
SIDE = 10.0  # degrees; the objects lie in a square from ra 180, dec 0
RADIUS = 5 / 60
KINDS = {
    **{"i:objectId": "string", "i:candid": "long", "i:jd": "double", "i:ra": "double", "i:dec": "double", "i:fid": "integer"},
    **{f"i:number{n}": "float" for n in range(10)},
    **{f"d:score{n}": "double" for n in range(4)},
}
LETTERS = "abcdefghijklmnopqrstuvwxyz"
NAMES = ["".join(some) for some in product(LETTERS, repeat=4)]


def run(settings: Settings, alerts: int | None) -> Report:
    """Fill the tables if they are not filled, and ask."""
    objects = (alerts or ALERTS) // PER_OBJECT
    settings = settings.model_copy(
        update={"hbase": settings.hbase.model_copy(update={"port": 0, "thrift": "local", "table_prefix": f"bench{objects}."})}
    )
    settings.root.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        hbase.start(settings)
        stack.callback(processes.stop, settings, hbase.NAME, say=lambda line: None)
        seconds = _fill(settings, objects)
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=settings.root)))
        feed = stack.enter_context(_feed(settings, home))

        def archived() -> int:
            return archive.counts(feed.settings).alerts

        feed.put(_WARM + _MEASURED)
        feed.wait(archived, _WARM * FEED_RATE, _WARM + 120)
        before = archived()
        figures, lines = [], [f"{objects * PER_OBJECT:,} alerts of {objects:,} objects, filled in {seconds:.0f} s; {CLIENTS} clients"]
        for how, pace in ((f"{PACE:g} a second and client", PACE), ("as fast as answered", 0.0)):
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(CLIENTS, context) as pool:
                ready = context.Manager().Barrier(CLIENTS)
                answers = list(pool.map(_client, *zip(*[(settings, objects, pace, seed, ready) for seed in range(CLIENTS)], strict=True)))
            for what in ("object", "cone"):
                took = np.concatenate([answer[what] for answer in answers]) * 1_000
                for name, part, goal in (("p50", 50, 20.0), ("p99", 99, 150.0)):
                    value = float(np.percentile(took, part))
                    figures.append(Figure(f"{what}, {how}, {name}", round(value, 1), "ms", goal if pace else None, at_most=True))
        behind = len(feed.closed()) - archived()
        figures += [
            Figure("alerts that were archived meanwhile", archived() - before, "alerts"),
            Figure("alerts that were waiting to be archived at the end", behind, "alerts"),
        ]
        return Report(figures, "\n".join([*lines, *measured(figures)]))


def _feed(settings: Settings, home: Path) -> Feed:
    """The archive at work, with a home and tables of its own."""
    host, port = hbase.address(settings)
    there = settings.hbase.model_copy(update={"thrift": f"{host}:{port}", "table_prefix": "feed."})
    own = settings.model_copy(update={"home": home, "hbase": there})
    spark = session(own, "bench")
    try:
        alerts = _alerts.science(spark, surveys.get("ztf"), _FED).withColumn("night", F.lit(_alerts.NIGHT))
        _alerts.written(alerts, home / "source", lambda _: None)
    finally:
        spark.stop()
    return Feed(own, home / "source", archive.NAME, FEED_RATE)


def _name(number: int) -> str:
    return f"ZTF18aaa{NAMES[number]}"


def _fill(settings: Settings, objects: int) -> float:
    begin = time.monotonic()
    rng = np.random.default_rng(1)
    ra, dec = 180 + rng.uniform(0, SIDE, objects), rng.uniform(0, SIDE, objects)
    pixels = lonlat_to_healpix(Longitude(ra, units.deg), Latitude(dec, units.deg), 128)
    with query.Tables(settings) as tables:
        names = ("ztf", "ztf.pixel128")
        tables.reader.create(dict.fromkeys(names, ("i", "d")))
        last = f"{_name(objects - 1)}_{_time(objects - 1, PER_OBJECT - 1)}"
        if tables.reader.row("ztf", last.encode()):
            return time.monotonic() - begin
        schema = {column.encode(): kind.encode() for column, kind in KINDS.items()}
        for name in names:
            tables.reader.write(name, [Row(SCHEMA_PREFIX + b"1", 1, schema)])
        rows = (_row(f"{_name(n)}_{_time(n, m)}", n, m, (ra[n], dec[n]), rng) for n in range(objects) for m in range(PER_OBJECT))
        tables.reader.write("ztf", rows)
        index = (_row(f"{pixels[n]}_{_time(n, 0)}_{_name(n)}", n, PER_OBJECT - 1, (ra[n], dec[n]), rng) for n in range(objects))
        tables.reader.write("ztf.pixel128", index)
    return time.monotonic() - begin


def _time(number: int, alert: int) -> float:
    return 2_461_000.5 + alert + number % 1_000 / 1_009


def _row(key: str, number: int, alert: int, position: tuple[float, float], rng: np.random.Generator) -> Row:
    numbers, scores = rng.random(10).astype(">f4").tobytes(), rng.random(4).astype(">f8").tobytes()
    cells = {
        b"i:objectId": _name(number).encode(),
        b"i:candid": (number * 100 + alert).to_bytes(8, "big"),
        b"i:jd": _double(_time(number, alert)),
        b"i:ra": _double(position[0]),
        b"i:dec": _double(position[1]),
        b"i:fid": (1 + alert % 2).to_bytes(4, "big"),
        **{b"i:number%d" % n: numbers[4 * n : 4 * n + 4] for n in range(10)},
        **{b"d:score%d" % n: scores[8 * n : 8 * n + 8] for n in range(4)},
    }
    return Row(key.encode(), 1, cells)


def _double(value: float) -> bytes:
    return np.array(value, ">f8").tobytes()


def _client(settings: Settings, objects: int, pace: float, seed: int, ready: object) -> dict[str, np.ndarray]:
    """How long each question took, in seconds."""
    rng = np.random.default_rng(seed)
    took: dict[str, list[float]] = {"object": [], "cone": []}
    with query.Tables(settings) as tables:
        _ask(tables, "object", objects, rng)
        _ask(tables, "cone", objects, rng)
        ready.wait()  # type: ignore[attr-defined]
        begin = time.monotonic() + rng.random() / (pace or 1)
        for number in range(QUESTIONS):
            if pace:
                time.sleep(max(0.0, begin + number / pace - time.monotonic()))
            what = ("object", "cone")[number % 2]
            asked = time.monotonic()
            _ask(tables, what, objects, rng)
            took[what].append(time.monotonic() - asked)
    return {what: np.array(values) for what, values in took.items()}


def _ask(tables: query.Tables, what: str, objects: int, rng: np.random.Generator) -> None:
    if what == "object":
        found = query.light_curve(tables, _name(int(rng.integers(objects))))
        assert found.num_rows == PER_OBJECT
    else:
        query.cone(tables, 180 + rng.uniform(1, SIDE - 1), rng.uniform(1, SIDE - 1), RADIUS)
