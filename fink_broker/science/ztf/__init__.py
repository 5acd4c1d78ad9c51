"""The broker's own science modules for ZTF, one idea a file.

What is public here and marked with `outputs` is a module that the configuration can name.
"""

from fink_broker.science.ztf.blazars import blazar, standardized_flux
from fink_broker.science.ztf.catalogues import gcvs, mangrove, vsx, x3hsp, x4lac
from fink_broker.science.ztf.detections import first_detection, nalerthist
from fink_broker.science.ztf.features import lc_features
from fink_broker.science.ztf.galaxy import galactic_latitude
from fink_broker.science.ztf.rates import magnitude_rate
from fink_broker.science.ztf.solar_system import roid

__all__ = [
    "blazar",
    "first_detection",
    "galactic_latitude",
    "gcvs",
    "lc_features",
    "magnitude_rate",
    "mangrove",
    "nalerthist",
    "roid",
    "standardized_flux",
    "vsx",
    "x3hsp",
    "x4lac",
]
