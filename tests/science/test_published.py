"""What Fink published for real alerts, and what the broker's own modules say of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest

from fink_broker import config
from fink_broker.catalogues import store
from fink_broker.science import ztf as own
from fink_broker.science.features import NAMES
from tests.compare import as_series, differences
from tests.lightcurves import apply

Alerts = list[dict[str, Any]]


@pytest.fixture(scope="module")
def alerts(shared: Path) -> Alerts:
    """Alerts with the values that Fink (science 8.41) published."""
    found = [alert for file in sorted((shared / "ztf_4.02_enriched").glob("*.avro")) for alert in fastavro.reader(file.open("rb"))]
    assert found
    return found


@pytest.mark.parametrize("name", ["roid", "nalerthist"])
def test_counts_and_flags_are_the_same(alerts, name):
    assert apply(getattr(own, name), alerts).tolist() == as_series(alerts, name).tolist()


def test_first_detections_are_the_same(alerts):
    found = apply(own.first_detection, alerts)
    for name in found.columns:
        assert found[name].tolist() == as_series(alerts, name).tolist()


@pytest.mark.parametrize("name", ["lc_features_g", "lc_features_r"])
def test_features_are_the_same(alerts, name):
    """To 6 digits: Fink's library fits slopes to squares of Julian dates, which leaves no more of them."""
    found = apply(own.lc_features, alerts)[name]
    for record, alert in zip(found, alerts, strict=True):
        assert (record is None) == (alert[name] is None)
        if record is not None:
            expected = [np.nan if alert[name][feature] is None else alert[name][feature] for feature in NAMES]
            np.testing.assert_allclose([record[feature] for feature in NAMES], expected, rtol=1e-6, atol=1e-9)


def test_rates_are_those_that_fink_samples(alerts):
    """Fink draws 10,000 samples, then adds the smallest one of its batch to all fluxes, so that none is below zero.

    The first gives the mean an error of sigma/100 (five of them are allowed) and the deviation one of 1.4 % (of this distribution,
    whose tail is exponential). What is added is unknown, because the batch is; but it is not more than the smallest sample of the alert
    itself, some 3.5 sigma below its flux. It makes the current flux brighter, so the rate of a rise more negative.
    """
    found = apply(own.magnitude_rate, alerts)
    for name in ("delta_time", "from_upper"):
        assert [None if np.isnan(value) else value for value in found[name]] == [alert[name] for alert in alerts]
    rates = 0
    for place, alert in enumerate(alerts):
        if alert["mag_rate"] is None:
            assert np.isnan(found["mag_rate"][place])
            continue
        rates += 1
        days, sigma = alert["delta_time"], alert["sigma_rate"]
        relative = alert["candidate"]["sigmapsf"] * np.log(10) / 2.5
        added = 2.5 * np.log10(2 - 3.5 * relative) / days if 3.5 * relative < 1 else 0
        for name, error in (("mag_rate", 0.05), ("lower_rate", 0.15), ("upper_rate", 0.15)):
            assert -added - error * sigma <= alert[name] - found[name][place] <= error * sigma, name
        assert found["sigma_rate"][place] == pytest.approx(sigma, rel=0.05)
    assert rates


def test_no_monitored_blazar_among_them(alerts):
    assert {value for states in apply(own.blazar, alerts) for value in states.values()} == {-1.0}
    assert {value for alert in alerts for value in alert["blazar_stats"].values()} == {-1.0}


def test_counterparts_are_the_same(alerts, monkeypatch):
    """VSX is asked for remotely by Fink, so stars may have come since; where others of its batch have one, its "Unknown" is "nan"."""
    home = config.load().root
    if missing := [name for name in ("vsx", "mangrove", "x3hsp", "x4lac") if name not in store.names(home)]:
        pytest.skip(f"no catalogue {', '.join(missing)} in {home}: fink catalogue install")
    monkeypatch.setenv("FINK__HOME", str(home))
    for name in ("gcvs", "x3hsp", "x4lac", "mangrove"):
        assert differences([alert[name] for alert in alerts], apply(getattr(own, name), alerts).tolist()) == []
    expected = ["Unknown" if alert["vsx"] == "nan" else alert["vsx"] for alert in alerts]
    for found, published in zip(apply(own.vsx, alerts), expected, strict=True):
        assert found in ("Unknown", published)
