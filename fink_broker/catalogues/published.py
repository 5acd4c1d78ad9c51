"""The catalogues that Fink matches ZTF's alerts with, out of the wheel of fink-science on PyPI."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from fink_broker.catalogues import read, store
from fink_broker.errors import UsageError
from fink_broker.infra import wheels

WHEEL = "fink-science==7.4.0"
WHEEL_SHA256 = "63d9c98745aff219d1e382552aa215a731b6bdc36d0527c4eeb2e71835bfc781"
_FOLDER = "fink_science/data/catalogs"


@dataclass(frozen=True)
class Published:
    """A catalogue in the wheel.

    Parameters
    ----------
    files : tuple of str
        Files that together are the catalogue.
    ra, dec : str
        Columns of the position.
    columns : tuple of str
        Columns that Fink publishes.
    about : str
        What it is, with its source.
    """

    files: tuple[str, ...]
    ra: str
    dec: str
    columns: tuple[str, ...]
    about: str


CATALOGUES = {
    "gcvs": Published(("gcvs.parquet",), "ra", "dec", ("VarType",), "General Catalogue of Variable Stars (Samus et al. 2017)"),
    "vsx": Published(("vsx.parquet",), "RAJ2000", "DEJ2000", ("VType",), "International Variable Star Index (Watson et al. 2006)"),
    "mangrove": Published(
        ("mangrove_filtered.parquet",),
        *("ra", "dec", ("HyperLEDA_name", "2MASS_name", "lum_dist", "ang_dist")),
        "Mangrove, galaxies with distances and masses (Ducoin et al. 2020)",
    ),
    "x3hsp": Published(
        ("3hsp.csv",), "R.A.", "Dec", ("3HSP Source name",), "3HSP, blazars whose synchrotron emission peaks high (Chang et al. 2019)"
    ),
    "x4lac": Published(
        ("table-4LAC-DR3-h.fits", "table-4LAC-DR3-l.fits"),
        *("RAJ2000", "DEJ2000", ("Source_Name",)),
        "4LAC-DR3, active galaxies seen by Fermi-LAT (Ajello et al. 2022)",
    ),
}


def install(home: Path, names: Sequence[str], wheel: Path | None = None) -> Iterator[str]:
    """Bring published catalogues into HOME.

    Parameters
    ----------
    home : Path
        HOME.
    names : sequence of str
        Keys of `CATALOGUES`; all of them without.
    wheel : Path, optional
        The wheel, where it is there already; else pip downloads it.

    Yields
    ------
    str
        The name of each, when it is there.

    Raises
    ------
    UsageError
        There is no such catalogue.
    FinkError
        The wheel cannot be had, or is not the one whose sha-256 is known.
    """
    for name in names:
        if name not in CATALOGUES:
            raise UsageError(f"'{name}' is not one of the published catalogues: {', '.join(CATALOGUES)}")
    with wheels.opened(WHEEL, WHEEL_SHA256, wheel) as archive:
        for name in names or CATALOGUES:
            one = CATALOGUES[name]
            rows = pa.concat_tables([_table(archive, file).select([one.ra, one.dec, *one.columns]) for file in one.files])
            found, _ = read.catalogue(rows, one.ra, one.dec, columns=one.columns)
            store.write(home, name, found, f"{one.about}; {WHEEL}")
            yield name


def _table(archive: zipfile.ZipFile, file: str) -> pa.Table:
    with tempfile.TemporaryDirectory() as folder:
        rows = archive.extract(f"{_FOLDER}/{file}", folder)
        return _of_3hsp(Path(rows)) if file == "3hsp.csv" else read.table(Path(rows))


def _of_3hsp(path: Path) -> pa.Table:
    """3HSP has its positions in hours and degrees with minutes and seconds, and blanks around quotes."""
    import pandas as pd
    from astropy import units
    from astropy.coordinates import Angle

    rows = pd.read_csv(path, skipinitialspace=True, dtype=str)
    rows.columns = rows.columns.str.strip()
    rows = rows.apply(lambda column: column.str.strip(' "'))
    rows["R.A."] = Angle(rows["R.A."].to_numpy(str), units.hourangle).degree
    rows["Dec"] = Angle(rows["Dec"].to_numpy(str), units.degree).degree
    return pa.Table.from_pandas(rows, preserve_index=False)
