"""Modules of fink-science give the values that Fink published for the same alerts.

They need their environment, which the suite does not build: FINK_TEST_ENVS names a home that has it (fink science install ztf).
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import fastavro
import pytest

from fink_broker.config import CHECKOUT

SAME = ("gcvs", "x3hsp", "x4lac", "mangrove", "roid", "nalerthist", "lc_features_g", "lc_features_r", "blazar_stats")
NAMES = (
    "gcvs",
    "x3hsp",
    "x4lac",
    "mangrove",
    "vsx",
    "roid",
    "nalerthist",
    "ad_features",
    "magnitude_rate",
    "standardized_flux",
    "blazar_stats",
    "anomaly_score",
)


@pytest.fixture(scope="module")
def alerts(shared: Path) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """What Fink published, and what the broker makes of the same alert."""
    home = os.environ.get("FINK_TEST_ENVS", str(CHECKOUT / "var"))
    if not Path(home, "envs", "ztf", "packages.txt").exists():
        pytest.skip(f"no environment of fink-science in {home}: fink science install ztf, or name another home in FINK_TEST_ENVS")
    [file] = (shared / "ztf_4.02_enriched").glob("*.avro")
    # Its workers have no coverage to measure with.
    environment = {name: value for name, value in os.environ.items() if name != "PYSPARK_SUBMIT_ARGS"}
    command = [sys.executable, "-m", "tests.science.golden", home, str(file), *[f"fink.{name}" for name in NAMES]]
    ran = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    made = {row["candid"]: row for row in json.loads(ran.stdout.splitlines()[-1])}
    with file.open("rb") as packets:
        published = {alert["candid"]: alert for alert in fastavro.reader(packets)}  # type: ignore[index]
    assert made.keys() == published.keys()
    return [(published[candid], row) for candid, row in made.items()]  # type: ignore[misc]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, float) and isinstance(b, float):
        # Published as float, or from light_curve of another version: the seventh digit is the rounding of its order of sums.
        return math.isclose(a, b, rel_tol=1e-6) or (math.isnan(a) and math.isnan(b))
    nothing = (None, *[value for value in (a, b) if isinstance(value, float) and math.isnan(value)])
    # Without the band's light curve Fink 8 publishes a record of NaN, fink-science 7.4 none.
    return bool(a == b) or (a in nothing and b in nothing)


def bare(value: Any) -> Any:
    """A record of nothing but NaN, or null, is no record."""
    if isinstance(value, dict) and all(item is None or (isinstance(item, float) and math.isnan(item)) for item in value.values()):
        return None
    return value


def test_no_errors_and_whose_version(alerts):
    assert [row["science_errors"] for _, row in alerts] == [None] * len(alerts)
    assert {row["fink_science_version"] for _, row in alerts} == {"7.4.0"}


@pytest.mark.parametrize("name", SAME)
def test_as_published(alerts, name: str):
    assert [(p["candid"], p[name], row[name]) for p, row in alerts if not same(bare(p[name]), bare(row[name]))] == []


def test_vsx_where_it_matches(alerts):
    """Published is what the CDS says, `nan` for no match and some types in another spelling; the local catalogue says Unknown."""
    for published, row in alerts:
        assert (row["vsx"] == "Unknown") == (published["vsx"] in ("nan", "Unknown"))


def test_rates_within_what_is_drawn(alerts):
    """10,000 numbers are drawn for each alert, and shifted by the lowest one of the batch: here that is another batch.

    The shift moves the mean by some tenths of the published spread.
    """
    for published, row in alerts:
        assert same(published["delta_time"], row["delta_time"])
        assert same(published["jd_first_real_det"], row["jd_first_real_det"])
        assert same(published["jdstarthist_dt"], row["jdstarthist_dt"])
        assert published["from_upper"] == row["from_upper"]
        if published["mag_rate"] is not None:
            assert abs(published["mag_rate"] - row["mag_rate"]) < 0.5 * published["sigma_rate"]


def test_every_alert_has_a_score(alerts):
    """Of another model than the published one: its values are not comparable."""
    assert all(-1 < row["anomaly_score"] <= 0.5 for _, row in alerts)
