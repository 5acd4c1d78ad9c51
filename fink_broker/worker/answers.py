"""Answers of servers in the network, kept by object: alerts of one object come again and again."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd

from fink_broker.science.module import Module


class Answers:
    """The kept answers of one module; a context manager. All workers of a machine share them.

    Parameters
    ----------
    folder : Path
        Where they lie.
    module : Module
        Module; what it returns while its server is away is not kept.
    """

    def __init__(self, folder: Path, module: Module) -> None:
        self._module = module
        self._database = sqlite3.connect(folder / "answers.sqlite", timeout=30)
        with self._database:
            self._database.execute("create table if not exists answers (module, object, at, answer, primary key (module, object))")

    def __enter__(self) -> Answers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._database.close()

    def known(self, objects: pd.Series) -> pd.Series:
        """Answers for objects; null where there is none that is young enough."""
        since = time.time() - 3600 * self._module.keep_hours
        ask = "select answer from answers where module = ? and object = ? and at > ?"
        found = [self._database.execute(ask, (self._module.name, str(one), since)).fetchone() for one in objects]
        return pd.Series([row[0] if row else None for row in found], index=objects.index, dtype=object)

    def keep(self, objects: pd.Series, answers: pd.Series) -> None:
        """Keep answers, and forget what is too old."""
        name, now = self._module.name, time.time()
        # The published modules say `Fail`, or `Fail 504`, for a server that is away.
        away = tuple(filter(None, ("Fail", self._module.away)))
        rows: list[Any] = [
            (name, str(one), now, answer)
            for one, answer in zip(objects, answers, strict=True)
            if isinstance(answer, str) and not answer.startswith(away)
        ]
        with self._database:
            self._database.execute("delete from answers where module = ? and at <= ?", (name, now - 3600 * self._module.keep_hours))
            self._database.executemany("insert or replace into answers values (?, ?, ?, ?)", rows)
