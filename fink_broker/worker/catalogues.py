"""Catalogues that modules match alerts with: they are given the stars around the batch's alerts instead of all stars of the sky.

A published crossmatch looks, for every star of its catalogue, for the nearest alert: that costs the same for a batch of one alert as for
thousands. With the stars alone that are within its radius of an alert it comes to the same matches: no other star takes part in one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd

from fink_broker.plugins import load_module
from fink_broker.science.module import Module
from fink_broker.science.sphere import unit_vectors

POSITION = ("ra", "dec")
_ARCSEC = np.pi / 180 / 3600


@contextmanager
def around(module: Module, rows: Mapping[str, pd.Series]) -> Iterator[None]:
    """Inside, the functions that `catalogues` of a module names return the stars around these rows."""
    if not module.catalogues:
        yield
        return
    source = load_module(module.reference.source, module.reference.text)
    position = unit_vectors(*(rows[name].to_numpy(float) for name in POSITION))
    near: dict[str, Any] = {name: _near(getattr(source, name), position, radius) for name, radius in module.catalogues.items()}
    with mock.patch.multiple(source, **near):
        yield


def _near(read: Callable[..., Any], position: np.ndarray[Any, Any], radius: float) -> Callable[..., Any]:
    def near(*args: Any) -> Any:
        whole, tree = _catalogue(read, args)
        # An arcsecond more, so that what lies on the rim is the module's to judge.
        reach = 2 * np.sin((radius + 1) * _ARCSEC / 2)
        found = sorted({star for stars in tree.query_ball_point(position, reach) for star in stars})
        # Never none at all: what is not to be found is found in a catalogue of one star as little.
        rows = np.array(found or [0])
        return tuple(part.iloc[rows] if isinstance(part, pd.Series) else [part[row] for row in rows] for part in whole)

    return near


@functools.cache
def _catalogue(read: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """The whole catalogue with a tree of its positions; read once in a worker."""
    from scipy.spatial import cKDTree

    whole = read(*args)
    ra, dec = (part.to_numpy(float) for part in whole[:2])
    return whole, cKDTree(unit_vectors(ra, dec), leafsize=64, compact_nodes=False, balanced_tree=False)
