"""Positions in the sky as points on the unit sphere."""

from __future__ import annotations

from typing import Any

import numpy as np


def unit_vectors(ra: np.ndarray[Any, Any], dec: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Points of the unit sphere, an array of N x 3, of N positions in degrees."""
    ra, dec = np.radians(ra), np.radians(dec)
    return np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
