"""The broker's own science modules: CPU time an alert, and the crossmatch with VSX beside astropy's; numpy alone, without Spark."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import psutil
import pyarrow.parquet as pq
from astropy.coordinates import SkyCoord

from datasim import TEMPLATES
from fink_broker.catalogues import store
from fink_broker.commands.bench import Figure, Report
from fink_broker.config import Settings
from fink_broker.science import ztf
from fink_broker.science.ztf.catalogues import STARS
from tests.lightcurves import arguments

ALERTS, POSITIONS, WORKERS = 5_000, 100_000, 4
BATCHES = (50, 5_000)


def run(settings: Settings, alerts: int | None = None) -> Report:
    """Measure.

    Parameters
    ----------
    settings : Settings
        The catalogues are those of the home around the benchmark's own.
    alerts : int, optional
        How many alerts go through each module.
    """
    home = settings.root.parent
    store.note(home, "vsx")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        opening = pool.apply(_opening, (home,))
    figures = [Figure("VSX: open", round(opening, 4), "s", 0.2, at_most=True)]
    figures += [Figure("VSX: memory of 4 workers together", round(_memory(home)), "MB", 200, at_most=True)]
    figures += _against_astropy(home)
    figures += _modules(home, alerts or ALERTS)
    lines = [f"{one.name:<48} {one.value:>10g} {one.unit:<10} {_verdict(one)}" for one in figures]
    return Report(figures, "\n".join(lines))


def _verdict(figure: Figure) -> str:
    return "" if figure.goal is None else f"goal {figure.goal:g}: {'reached' if figure.ok else 'MISSED'}"


def _opening(home: Path) -> float:
    """Seconds from nothing to the first match."""
    began = time.perf_counter()
    store.opened("vsx", home).nearest([10.0], [20.0], STARS)
    return time.perf_counter() - began


def _memory(home: Path) -> float:
    """Memory that a catalogue takes in several processes that have all touched all of it, MB; what they share counts once."""
    context = multiprocessing.get_context("spawn")
    opened, done = context.Barrier(WORKERS), context.Event()
    answers = context.Queue()
    workers = [context.Process(target=_touch, args=(home, opened, done, answers)) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    total = sum(answers.get(timeout=300) for _ in workers)
    done.set()
    for worker in workers:
        worker.join()
    return total / 1e6


def _touch(home: Path, opened: Any, done: Any, answers: Any) -> None:
    before = psutil.Process().memory_full_info().pss
    known = store.opened("vsx", home)
    _ = [array.sum() for array in (known.keys, known.ra, known.dec)], known.payload["VType"].value_counts()
    rng = np.random.default_rng()
    for _ in range(10):
        known.column("VType", known.nearest(*_anywhere(rng, 5_000), STARS)[0], "Unknown")
    opened.wait()
    answers.put(psutil.Process().memory_full_info().pss - before)
    done.wait()


def _anywhere(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.uniform(0, 360, count), np.degrees(np.arcsin(rng.uniform(-1, 1, count)))


def _against_astropy(home: Path) -> list[Figure]:
    """The nearest star of positions all over the sky, poles and right ascension 0 among them, half of them at stars."""
    known, rng = store.opened("vsx", home), np.random.default_rng(1)
    ra, dec = _anywhere(rng, POSITIONS)
    star = rng.integers(0, len(known), POSITIONS // 2)
    ra[::2], dec[::2] = known.ra[star], np.clip(known.dec[star] + rng.normal(0, STARS / 3600, len(star)), -90, 90)
    dec[1:200:2], dec[201:400:2], ra[401:600:2] = 90, -90, 0
    rows, separation, _ = SkyCoord(ra, dec, unit="deg").match_to_catalog_sky(SkyCoord(known.ra, known.dec, unit="deg"))
    found, how_far = known.nearest(ra, dec)
    differ = (found != rows) & (np.abs(how_far - separation.arcsec) > 1e-6)
    within, _ = known.nearest(ra, dec, STARS)
    differ |= (within >= 0) != (separation.arcsec < STARS)
    return [Figure(f"VSX: of {POSITIONS:,} positions, not as astropy", int(differ.sum()), "", 0, at_most=True)]


def _modules(home: Path, count: int) -> list[Figure]:
    templates, rng = pq.read_table(TEMPLATES).to_pylist(), np.random.default_rng(2)
    alerts = [templates[place] for place in rng.integers(0, len(templates), count)]
    missing = {name for name in ("mangrove", "x3hsp", "x4lac") if name not in store.names(home)}
    modules = {name: getattr(ztf, name) for name in ztf.__all__ if name not in missing}
    figures = []
    everywhere = [pd.Series(part) for part in _anywhere(rng, POSITIONS)]
    with mock.patch.dict(os.environ, {"FINK__HOME": str(home)}):
        for batch in BATCHES:
            ms = _cpu_ms(ztf.vsx, everywhere, batch)
            figures.append(Figure(f"vsx all over the sky, batches of {batch:,}", round(ms, 4), "ms", 0.05, at_most=True))
            cost = {name: _cpu_ms(module, arguments(module, alerts), batch) for name, module in modules.items()}
            figures += [Figure(f"{name}, batches of {batch:,}", round(ms, 4), "ms") for name, ms in cost.items()]
            figures.append(Figure(f"all, batches of {batch:,}", round(sum(cost.values()), 3), "ms", 1.5, at_most=True))
    return figures


def _cpu_ms(module: Callable[..., Any], columns: list[Any], batch: int) -> float:
    module(*[column[:50] for column in columns])
    count, began = len(columns[0]), time.process_time()
    for start in range(0, count, batch):
        module(*[column[start : start + batch] for column in columns])
    return (time.process_time() - began) / count * 1000
