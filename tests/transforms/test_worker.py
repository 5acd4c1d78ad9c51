"""Modules that do harm: each costs its own values and nobody else's, down to the bit."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fink_broker.config import Settings
from fink_broker.config.own import Science, ScienceModule
from fink_broker.config.sections import Raw2science
from fink_broker.plugins import Reference
from fink_broker.science.module import Module
from fink_broker.science.registry import active
from fink_broker.surveys import get
from fink_broker.transforms.science import with_science
from fink_broker.transforms.workers import Workers
from fink_broker.worker import batch, calls, limits
from fink_broker.worker.place import Place, forget

SURVEY = get("ztf")
N = 30

HARM = """
import os, sys, time
import numpy as np
import pandas as pd
from fink_broker.science import outputs

@outputs(fine="double", curve="array<double>")
def fine(magpsf, cmagpsf):
    return pd.DataFrame({"fine": np.sqrt(magpsf), "curve": cmagpsf.map(lambda m: (m / 3).astype(float))})

@outputs(after="double")
def after(fine, curve):
    return fine + curve.map(np.nansum)

@outputs(seventh="double")
def seventh(candid, magpsf):
    if (candid % 7 == 0).any():
        raise ValueError("every seventh")
    return magpsf

@outputs(sleeps="double")
def sleeps(candid, magpsf):
    if (candid == 5).any():
        time.sleep(60)
    return magpsf

@outputs(leaves="double")
def leaves(candid, magpsf):
    if (candid == 11).any():
        sys.exit(3)
    return magpsf

@outputs(kills="double")
def kills(candid, magpsf):
    if (candid == 13).any():
        os._exit(3)
    return magpsf

@outputs(dies="double")
def dies(candid, magpsf):
    if (candid == 17).any():
        os.abort()
    return magpsf

@outputs(eats="double")
def eats(candid, magpsf):
    if (candid == 19).any():
        return magpsf + np.ones(4_000_000_000)[0]
    return magpsf

@outputs(writes="double")
def writes(cmagpsf):
    for curve in cmagpsf:
        curve += 1000
    return cmagpsf.map(np.nansum)

@outputs(swallows="double")
def swallows(magpsf):
    try:
        time.sleep(60)
    except Exception:
        pass
    return magpsf
"""
HARMFUL = ("seventh", "sleeps", "leaves", "kills", "dies", "eats", "writes")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("harm") / "harm.py"
    file.write_text(HARM)
    return file


@pytest.fixture
def make(file: Path):
    """Makes modules of the file above active; those that would end the tests' own process get one of their own."""

    def make(*names: str, seconds: float = 3.0, isolate: tuple[str, ...] = ("kills", "dies")) -> list[Module]:
        # Only what is late shall meet the limit, however busy the machine is.
        late = dict.fromkeys(("sleeps", "swallows"), seconds)
        entries = [
            ScienceModule(name=name, function=str(file), isolate=name in isolate, timeout_seconds=late.get(name, 60.0)) for name in names
        ]
        return active(Settings(raw2science=Raw2science(modules=[]), science=Science(modules=entries)), SURVEY)

    yield make
    calls.end_children()


def columns() -> dict[str, pd.Series]:
    rng = np.random.default_rng(1)
    curves = [rng.uniform(15, 20, size).astype(np.float32) for size in rng.integers(1, 9, N)]
    return {"candid": pd.Series(range(1, N + 1)), "magpsf": pd.Series(rng.uniform(15, 20, N)), "cmagpsf": pd.Series(curves)}


KINDS = {name: pa.float64() for name in ("fine", "after", *HARMFUL, "swallows")} | {"curve": pa.list_(pa.float64())}


@pytest.fixture
def run(tmp_path: Path):
    place = Place(tmp_path / "workers")

    def run(modules: list[Module], given: dict[str, pd.Series] | None = None) -> pd.DataFrame:
        given = columns() if given is None else given
        return batch.run(modules, given, KINDS, given["candid"], place)

    return run


def test_harm_stays_where_it_is_done(make, run, monkeypatch: pytest.MonkeyPatch):
    alone = run(make("fine", "after"))
    # As much as a worker gets; not for this process, which is that of all tests.
    monkeypatch.setattr(batch, "_say_once", lambda *_: None)
    began = time.monotonic()
    table = run(make(*HARMFUL, "fine", "after"))
    assert time.monotonic() - began < 40
    for name in ("fine", "after", "curve"):
        pd.testing.assert_series_equal(table[name], alone[name], check_exact=True)
    magnitudes = columns()["magpsf"]
    lost = {"seventh": {7, 14, 21, 28}, "sleeps": {5}, "leaves": {11}, "kills": {13}, "dies": {17}, "eats": {19}}
    for name, ids in lost.items():
        there = ~pd.Series(range(1, N + 1)).isin(ids)
        assert list(table[name][there]) == list(magnitudes[there]), name
        assert table[name][~there].isna().all(), name
    reasons = {text.partition(":")[0]: text for texts in table["science_errors"] if texts for text in texts}
    assert reasons.keys() == lost.keys()
    assert reasons["sleeps"] == "sleeps: TimeIsUp: took longer than 0.3 s"
    assert reasons["leaves"] == "leaves: SystemExit: 3"
    assert reasons["kills"] == "kills: Ended: ended its process: exit code 3"
    assert reasons["dies"] == "dies: Ended: ended its process: SIGABRT"
    assert "MemoryError" in reasons["eats"]
    assert list(table["writes"]) == [float(np.nansum(curve + np.float32(1000))) for curve in columns()["cmagpsf"]]
    cost = json.loads(table["science_cost"][0])
    assert set(cost["modules"]) == {*HARMFUL, "fine", "after"}
    assert cost["modules"]["seventh"][1:] == [N, 4]
    assert table["science_cost"][1:].isna().all()


def test_what_catches_everything_cannot_catch_the_end_of_its_time(make, run):
    table = run(make("swallows", seconds=0.2), {name: values[:2] for name, values in columns().items()})
    assert table["swallows"].isna().all()
    assert table["science_errors"][0] == ["swallows: TimeIsUp: took longer than 0.02 s"]


def test_who_is_always_late_is_left_out_for_a_while(make, run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(batch, "_late", {})
    late = make("swallows", seconds=0.05)
    one = {name: values[:1] for name, values in columns().items()}
    for _ in range(3):
        assert "TimeIsUp" in run(late, one)["science_errors"][0][0]
    assert run(late, one)["science_errors"][0] == ["swallows: left out: 3 times in turn it took too long"]


def test_no_alarm_is_left_behind():
    with pytest.raises(limits.TimeIsUp), limits.within(0.05):
        time.sleep(5)
    with limits.within(0.05):
        pass
    time.sleep(0.1)


def test_a_process_that_no_alarm_ends_is_ended():
    hangs = """
import time
from fink_broker.worker import limits
limits._GRACE_S = 0.1
with limits.within(0.1):
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass
"""
    ended = subprocess.run([sys.executable, "-c", hangs], capture_output=True, timeout=20, check=False)
    assert ended.returncode == 1
    assert b"most recent call first" in ended.stderr


def test_a_dead_workers_note_names_who_ended_it(tmp_path: Path):
    shared = tmp_path / "workers"
    pid = os.fork()
    if pid == 0:
        with Place(shared).running("kills"):
            os._exit(1)
    os.waitpid(pid, 0)
    place = Place(shared)
    assert place.killers == {"kills"}
    assert [one.name for one in shared.glob("[0-9]*")] == [str(os.getpid())]
    forget(shared)
    place.look_around()
    assert Place(shared).killers == set()


def test_in_spark_a_module_that_ends_its_worker_is_run_apart(spark, make, tmp_path: Path):
    """Unknown as a killer: the task is tried again, and the second time only that module's own process ends."""
    given = columns()
    rows = [(int(c), "x", (float(m), 1), [(float(v), 1) for v in curve]) for c, m, curve in zip(*given.values(), strict=True)]
    record = "struct<magpsf: double, fid: int>"
    alerts = spark.createDataFrame(rows, f"candid long, objectId string, candidate {record}, prv_candidates array<{record}>").coalesce(1)
    modules = make("kills", "fine", isolate=())
    found = {row.candid: row for row in with_science(alerts, modules, SURVEY, Workers(tmp_path / "workers")).collect()}
    assert [candid for candid, row in found.items() if row.kills is None] == [13]
    assert [candid for candid, row in found.items() if row.science_errors] == [13]
    assert all(row.fine == np.sqrt(row.candidate.magpsf) for row in found.values())


def test_few_alerts_that_fail_cost_few_calls(tmp_path: Path):
    calls = tmp_path / "calls"
    source = tmp_path / "mine.py"
    raising = "if (x == 700).any():\n        raise ValueError('700')"
    source.write_text(f"def mine(x):\n    open({str(calls)!r}, 'a').write('.')\n    {raising}\n    return x > 5\n")
    modules = [Module("mine", Reference(str(source), "mine"), ("x",), {"mine": "boolean"})]
    given = {"x": pd.Series(range(1000))}
    outcome = batch.evaluate(modules, given, {"mine": pa.bool_()}, given["x"], Place(tmp_path / "workers"))
    assert outcome.faults == {"mine": {700: "ValueError: 700"}}
    assert outcome.values["mine"].tolist() == [None if x == 700 else x > 5 for x in range(1000)]
    assert len(calls.read_text()) < 2 * 11


def test_records_come_as_tables_and_are_each_modules_own(tmp_path: Path):
    source = tmp_path / "mine.py"
    source.write_text("def mine(record):\n    record['x'] += 1\n    return record.x > 1\n\ndef other(record):\n    return record.x > 1\n")
    modules = [Module(name, Reference(str(source), name), ("record",), {name: "boolean"}) for name in ("mine", "other")]
    given = {"record": pd.DataFrame({"x": [0, 1, 2], "curve": [np.array([1.0])] * 3})}
    kinds = {"mine": pa.bool_(), "other": pa.bool_()}
    outcome = batch.evaluate(modules, given, kinds, pd.Series([1, 2, 3]), Place(tmp_path / "workers"))
    assert outcome.faults == {"mine": {}, "other": {}}
    assert {name: values.tolist() for name, values in outcome.values.items()} == {
        "mine": [False, True, True],
        "other": [False, False, True],
    }


def test_a_worker_cannot_post_to_a_chat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ANOMALY_TG_TOKEN", "x")
    Place(tmp_path / "workers")
    assert "ANOMALY_TG_TOKEN" not in os.environ


class Heavy:
    """What a module loads."""

    loads = 0

    def __setstate__(self, state: dict[str, Any]) -> None:
        Heavy.loads += 1


def test_what_is_loaded_is_kept_and_loaded_anew_when_it_changes(tmp_path: Path):
    from fink_broker.worker.loading import remembered

    model, table = tmp_path / "model.pkl", tmp_path / "table.csv"
    heavy = Heavy()
    heavy.x = 1  # type: ignore[attr-defined]
    model.write_bytes(pickle.dumps(heavy))
    table.write_text("a,b\n1,2\n")

    def load() -> tuple[Any, pd.DataFrame]:
        with remembered(), model.open("rb") as file:
            return pickle.load(file), pd.read_csv(table)

    before = pickle.load, pd.read_csv
    first, values = load()
    values.loc[0, "a"] = 99
    second, again = load()
    assert first is second
    assert Heavy.loads == 1
    assert again.loc[0, "a"] == 1
    os.utime(model, ns=(1, 1))
    assert load()[0] is not first
    assert (pickle.load, pd.read_csv) == before
    assert pickle.load(model.open("rb")) is not first


MATCH = """
import numpy as np
import pandas as pd
from fink_broker.science import outputs

READ = []

def extract(name):
    rng = np.random.default_rng(5)
    stars = pd.DataFrame({"ra": rng.uniform(0, 360, 20000), "dec": np.degrees(np.arcsin(rng.uniform(-1, 1, 20000)))})
    stars.loc[:3, ["ra", "dec"]] = [[0.00001, 0.0], [359.99999, 10.0], [12.0, 90.0], [200.0, -89.99999]]
    READ.append(name)
    return stars["ra"], stars["dec"], pd.Series([f"s{n}" for n in range(20000)]), list(range(20000))

def unit(ra, dec):
    ra, dec = np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float))
    return np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])

@outputs(match="string", number="int", seen="int")
def match(ra, dec, arcsec):
    star_ra, star_dec, names, numbers = extract("all")
    chord = np.linalg.norm(unit(ra, dec)[:, None] - unit(star_ra, star_dec)[None], axis=2)
    nearest = chord.argmin(axis=1)
    hit = 2 * np.arcsin(chord.min(axis=1) / 2) < np.radians(arcsec[0] / 3600)
    found = np.where(hit, names.to_numpy()[nearest], "Unknown")
    return pd.DataFrame({"match": found, "number": np.where(hit, np.array(numbers)[nearest], -1), "seen": len(names)})
"""


def test_the_stars_around_a_batch_give_the_same_matches_as_all(tmp_path: Path):
    file = tmp_path / "match.py"
    file.write_text(MATCH)
    entry = {"name": "match", "function": str(file), "constants": {"arcsec": 3600.0}}
    rng = np.random.default_rng(6)
    ra, dec = rng.uniform(0, 360, 300), np.degrees(np.arcsin(rng.uniform(-1, 1, 300)))
    ra[:6], dec[:6] = [359.95, 0.05, 100.0, 300.0, 20.0, 12.0], [0.0, 10.0, 89.95, -89.95, -89.99, 89.999]
    given = {"candid": pd.Series(range(300)), "ra": pd.Series(ra), "dec": pd.Series(dec)}
    kinds = {"match": pa.string(), "number": pa.int32(), "seen": pa.int32()}
    place = Place(tmp_path / "workers")

    def run(size: int, **more: Any) -> pd.DataFrame:
        science = Science(modules=[ScienceModule.model_validate(entry | more)])
        modules = active(Settings(raw2science=Raw2science(modules=[]), science=science), SURVEY)
        parts = [
            {name: values[start : start + size].reset_index(drop=True) for name, values in given.items()} for start in range(0, 300, size)
        ]
        return pd.concat([batch.run(modules, part, kinds, part["candid"], place) for part in parts], ignore_index=True)

    plain = run(300)
    assert plain["science_errors"].isna().all()
    assert 50 < (plain["match"] != "Unknown").sum() < 290
    assert set(plain["match"][:6]) >= {"s0", "s1"}
    for size in (300, 7):
        fewer = run(size, catalogues={"extract": 3600.0})
        pd.testing.assert_frame_equal(fewer[["match", "number"]], plain[["match", "number"]])
        assert fewer["seen"].max() < 1000
    from fink_broker.plugins import load_module

    # Once for all of the small batches and the large one; the plain way once more.
    assert len(load_module(str(file)).READ) == 2
