"""Where catalogues are kept: ``HOME/catalogues/<name>``, arrays and columns that are mapped, not read.

Workers know HOME by the environment variable ``FINK__HOME``, which the session sets for them.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fink_broker.catalogues import read
from fink_broker.catalogues.index import Catalogue, Floats
from fink_broker.errors import ConfigError, UsageError

_NOTE = "catalogue.json"
_PAYLOAD = "payload.arrow"
_ARRAYS = ("keys", "ra", "dec", "radius")
# Small ones that come with the broker; one of the same name in HOME goes before it.
_SHIPPED = Path(__file__).parent / "shipped"


def folder(home: Path) -> Path:
    """Folder of the catalogues of a HOME."""
    return home / "catalogues"


def names(home: Path) -> list[str]:
    """Names of the catalogues that can be opened."""
    kept = {note.parent.name for note in folder(home).glob(f"[a-z]*/{_NOTE}")}
    return sorted(kept | {file.stem for file in _SHIPPED.glob("*.parquet")})


def write(home: Path, name: str, catalogue: Catalogue, source: str) -> None:
    """Keep a catalogue, whole or not at all, in place of one of the same name.

    Services that run go on with what they have mapped until they are started again.

    Parameters
    ----------
    home : Path
        HOME.
    name : str
        Lower-case letters, digits and underscores.
    catalogue : Catalogue
        Its rows and columns.
    source : str
        Where it comes from, for those who list it.

    Raises
    ------
    UsageError
        The name does not do, or there is no row.
    """
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise UsageError(f"'{name}' is no name for a catalogue: lower-case letters, digits and underscores, a letter first")
    keep(folder(home) / name, catalogue, source)


def keep(target: Path, catalogue: Catalogue, source: str) -> None:
    """Keep a catalogue in a folder of its own; see `write`."""
    if not len(catalogue):
        raise UsageError(f"{source} has no row with a position: nothing to match with")
    new, old = (target.with_name(f".{target.name}.{os.getpid()}.{suffix}") for suffix in ("new", "old"))
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        for part in _ARRAYS:
            if (values := getattr(catalogue, part)) is not None:
                np.save(new / f"{part}.npy", values)
        with pa.OSFile(str(new / _PAYLOAD), "wb") as file, pa.ipc.new_file(file, catalogue.payload.schema) as writer:
            writer.write_table(catalogue.payload)
        note = {"rows": len(catalogue), "zones": catalogue.zones, "reach": catalogue.reach, "source": source}
        (new / _NOTE).write_text(json.dumps(note), encoding="utf-8")
        if target.exists():
            target.rename(old)
        new.rename(target)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def remove(home: Path, name: str) -> None:
    """Remove a catalogue from HOME.

    Raises
    ------
    UsageError
        It is not there.
    """
    if name not in names(home) or not (folder(home) / name).is_dir():
        raise UsageError(f"there is no catalogue '{name}' in {folder(home)}")
    shutil.rmtree(folder(home) / name)


def note(home: Path, name: str) -> dict[str, Any]:
    """What is known of a catalogue without opening it: ``rows`` and ``source``.

    Raises
    ------
    ConfigError
        There is no such catalogue, or it is empty.
    """
    found: dict[str, Any]
    try:
        found = json.loads((folder(home) / name / _NOTE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        shipped = _SHIPPED / f"{name}.parquet"
        if not shipped.is_file():
            how = f"fink catalogue install {name}, or fink catalogue add {name} FILE"
            raise ConfigError(f"there is no catalogue '{name}' in {folder(home)}: {how}") from None
        found = {"rows": int(pq.read_metadata(shipped).num_rows), "source": "comes with the broker"}
    if not found["rows"]:
        raise ConfigError(f"the catalogue '{name}' in {folder(home)} is empty: fink catalogue add {name} FILE")
    return found


def opened(name: str, home: Path | None = None) -> Catalogue:
    """Open a catalogue, once in each process: its files are mapped, and the processes of a machine share them.

    Parameters
    ----------
    name : str
        Name of the catalogue.
    home : Path, optional
        HOME; without, that of the broker which this worker works for.

    Raises
    ------
    ConfigError
        There is no such catalogue, or it is empty or damaged.
    """
    return _opened(name, home or Path(os.environ.get("FINK__HOME", "var")))


@functools.cache
def _opened(name: str, home: Path) -> Catalogue:
    known = note(home, name)
    where = folder(home) / name
    if not where.is_dir():
        shipped, _ = read.catalogue(pq.read_table(_SHIPPED / f"{name}.parquet"))
        return shipped
    return mapped(where, known)


def mapped(where: Path, known: Mapping[str, Any] | None = None) -> Catalogue:
    """Map the catalogue that `keep` has kept in a folder.

    Parameters
    ----------
    where : Path
        The folder.
    known : mapping, optional
        What its note says, where that has been read.

    Raises
    ------
    ConfigError
        It is not there, or damaged.
    """
    try:
        known = known or json.loads((where / _NOTE).read_text(encoding="utf-8"))
        keys, ra, dec = (_mapped(where / f"{part}.npy") for part in ("keys", "ra", "dec"))
        radius = _mapped(where / "radius.npy") if (where / "radius.npy").exists() else None
        payload = pa.ipc.open_file(pa.memory_map(str(where / _PAYLOAD))).read_all()
        # A table without columns has no rows either.
        if {len(keys), len(ra), len(dec), payload.num_rows if payload.num_columns else len(keys)} != {known["rows"]}:
            raise ValueError("its files have different numbers of rows")
        return Catalogue(known["zones"], keys, ra, dec, payload, radius, known["reach"])
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"the catalogue '{where.name}' in {where} is damaged ({error}): bring it in anew, see fink catalogue -h"
        ) from error


def _mapped(path: Path) -> Floats:
    # A plain array over the mapping: numpy's own class for it is slow at small steps.
    return np.asarray(np.load(path, mmap_mode="r"))
