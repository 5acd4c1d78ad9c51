"""Columns that are worked out of others: what Fink's own code makes of them, and astropy."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
from astropy.coordinates import SkyCoord, get_constellation

from fink_broker import surveys
from fink_broker.query.computed import classes, constellation
from fink_broker.query.rates import RATES, rates
from tests.surveys.test_ztf_classes import ALERT, CASES, FINK

COMPUTED = surveys.get("ztf").lookups.computed  # type: ignore[union-attr]


def in_pandas(alerts: pd.DataFrame) -> pd.DataFrame:
    """Rates and colours of one object as fink-object-api says: differences in each band, and bands matched by the nearest in time."""
    alerts = alerts.sort_values("jd").reset_index(drop=True)
    for fid in (1, 2):
        one = alerts[alerts["fid"] == fid]
        step = one["jd"].diff()
        alerts.loc[one.index, "v:rate"] = one["mag"].diff() / step
        alerts.loc[one.index, "v:sigma(rate)"] = np.hypot(one["err"], one["err"].shift()) / step
    g, r = (alerts.loc[alerts["fid"] == fid, ["jd", "mag", "err"]] for fid in (1, 2))
    both = pd.merge_asof(g, r, on="jd", suffixes=("_g", "_r"), direction="nearest", tolerance=0.3).dropna(subset="mag_r")
    both["v:g-r"], both["v:sigma(g-r)"] = both["mag_g"] - both["mag_r"], np.hypot(both["err_g"], both["err_r"])
    both["v:rate(g-r)"] = both["v:g-r"].diff() / both["jd"].diff()
    both["v:sigma(rate(g-r))"] = np.hypot(both["v:sigma(g-r)"], both["v:sigma(g-r)"].shift()) / both["jd"].diff()
    return pd.merge_asof(alerts, both[["jd", *list(RATES)[2:]]], on="jd", direction="nearest", tolerance=0.3)


def test_rates_and_colours_are_those_of_fink() -> None:
    rng = np.random.default_rng(3)
    objects = [
        pd.DataFrame(
            {
                "name": f"o{number}",
                "jd": 2.46e6 + np.sort(rng.uniform(0, 4, size)),
                "fid": rng.integers(1, 4 if number % 2 else 3, size),
                "mag": rng.uniform(15, 20, size),
                "err": rng.uniform(0.01, 0.2, size),
            }
        )
        for number, size in enumerate((1, 2, 3, 5, 20, 40))
    ]
    wanted = pd.concat([in_pandas(one) for one in objects])
    mixed = wanted.sample(frac=1, random_state=1)
    found = rates(COMPUTED, mixed["name"].tolist(), [mixed[name].to_numpy(float) for name in ("jd", "fid", "mag", "err")])
    for name in RATES:
        np.testing.assert_allclose(found[name], mixed[name].to_numpy(float), rtol=1e-9, err_msg=name)
    assert np.isfinite(found["v:g-r"]).sum() > 20


def test_rates_of_nothing_and_of_what_is_not_measured() -> None:
    nothing = rates(COMPUTED, [], [np.empty(0)] * 4)
    assert {len(values) for values in nothing.values()} == {0}
    found = rates(COMPUTED, ["a"] * 3, [np.array([1.0, 2, 3]), np.ones(3), np.array([18, np.nan, 17]), np.full(3, 0.1)])
    assert np.array_equal(found["v:rate"], [np.nan, np.nan, -0.5], equal_nan=True)


def test_constellations_are_those_of_astropy() -> None:
    rng = np.random.default_rng(4)
    ra, dec = rng.uniform(0, 360, 4_000), np.degrees(np.arcsin(rng.uniform(-1, 1, 4_000)))
    ra, dec = np.append(ra, [0, 359.999999, 83.8, 10]), np.append(dec, [90, -90, -5.4, 41])
    wanted = get_constellation(SkyCoord(ra, dec, unit="deg"))
    found = np.array(constellation(ra, dec).to_pylist())
    # astropy's are moved by the aberration: some within 20 arcsec of a border are on its other side.
    assert np.mean(found != wanted) < 0.004
    assert found[-2:].tolist() == ["Orion", "Andromeda"]
    assert constellation(np.array([np.nan]), np.array([1.0])).to_pylist() == [None]


def test_classes_are_those_that_spark_gives() -> None:
    rows = [
        {**{f"d:{name}": case.get(name, FINK[name]) for name in FINK}, **{f"i:{name}": case.get(name, ALERT[name]) for name in ALERT}}
        for case, _ in CASES
    ]
    found = classes(COMPUTED, pa.Table.from_pylist(rows), dict.fromkeys(rows[0], "double")).to_pylist()
    assert [(case, is_, should) for (case, should), is_ in zip(CASES, found, strict=True) if is_ != should] == []
