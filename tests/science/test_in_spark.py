"""The broker's own science modules in Spark's workers, and what they need before anything starts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fink_broker.catalogues import read, store
from fink_broker.config import Settings
from fink_broker.config.sections import Raw2science
from fink_broker.errors import ConfigError
from fink_broker.science import ztf as own
from fink_broker.science.registry import active
from fink_broker.surveys import get
from fink_broker.transforms.science import with_science
from tests.lightcurves import apply

SURVEY = get("ztf")

# Light-curve columns, then those of the current detection only.
OF_A_CURVE = {
    "jd": "double",
    "fid": "int",
    "magpsf": "float",
    "sigmapsf": "float",
    "diffmaglim": "float",
    "distnr": "float",
    "magnr": "float",
}
OF_A_CURVE |= {"sigmagnr": "float", "isdiffpos": "string"}
CURRENT = {
    "ra": "double",
    "dec": "double",
    "jdstarthist": "double",
    "ndethist": "int",
    "sgscore1": "float",
    "ssdistnr": "float",
    "distpsnr1": "float",
}


def test_the_brokers_own_modules_on_real_alerts(spark, settings, templates: list[dict[str, Any]]):
    """What they say of each alert alone is what Spark's workers say of all; VSX is a catalogue of this HOME, of every third alert."""
    some = [{"ra": t["candidate"]["ra"], "dec": t["candidate"]["dec"], "VType": f"type {k}"} for k, t in enumerate(templates) if k % 3 == 0]
    store.write(settings.root, "vsx", read.catalogue(pa.Table.from_pylist(some))[0], "a test")
    rows = [
        (
            t["candid"],
            t["objectId"],
            tuple(t["candidate"][n] for n in (OF_A_CURVE | CURRENT)),
            None if t["prv_candidates"] is None else [tuple(p[n] for n in OF_A_CURVE) for p in t["prv_candidates"]],
        )
        for t in templates
    ]
    point, current = (", ".join(f"{name}: {kind}" for name, kind in columns.items()) for columns in (OF_A_CURVE, OF_A_CURVE | CURRENT))
    alerts = spark.createDataFrame(
        rows, f"candid long, objectId string, candidate struct<{current}>, prv_candidates array<struct<{point}>>"
    )
    names = ["vsx", *(name for name in own.__all__ if name not in ("vsx", "mangrove", "x3hsp", "x4lac"))]
    modules = active(settings.model_copy(update={"raw2science": Raw2science(modules=names)}), SURVEY)
    found = {row.candid: row.asDict(recursive=True) for row in with_science(alerts, modules, SURVEY).collect()}
    for place, template in enumerate(templates):
        row = found[template["candid"]]
        assert row["science_errors"] is None
        assert row["vsx"] == (f"type {place}" if place % 3 == 0 else "Unknown")
        for module in modules[1:]:
            alone = apply(module.reference.load(), [template])
            table = alone if isinstance(alone, pd.DataFrame) else alone.to_frame(next(iter(module.outputs)))
            for name in module.outputs:
                expected = as_numbers(table[name].iloc[0])
                assert as_numbers(row[name]) == (expected if isinstance(expected, str) else pytest.approx(expected, nan_ok=True)), name


def as_numbers(value: Any) -> Any:
    """Numbers as floats, NaN where one is missing; lists and records as lists of them."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | np.ndarray):
        return [as_numbers(one) for one in value]
    return math.nan if value is None else value if isinstance(value, str) else float(value)


@pytest.mark.parametrize("name", ["vsx", "mangrove"])
def test_no_start_without_the_catalogue(name: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=f"there is no catalogue '{name}' in .*: fink catalogue install {name}"):
        active(Settings(home=tmp_path, raw2science=Raw2science(modules=[name])), SURVEY)
