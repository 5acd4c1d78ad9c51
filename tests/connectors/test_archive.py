"""Nights of the Parquet archive: whole whatever happens, and ids that can be compared."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fink_broker.config import Settings
from fink_broker.connectors import archive
from fink_broker.connectors.archive import Digest, Night, Note

NIGHT = "20260322"


class Killed(BaseException):
    """As after SIGKILL, nothing more is done."""


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "a home")


@pytest.fixture(params=["in one step", "by two renames"])
def system(request, monkeypatch) -> None:
    """One that can exchange two names, and one that cannot."""
    if request.param == "by two renames":
        monkeypatch.setattr(archive, "exchange", lambda one, other: False)


def make(home: Settings, number: int) -> None:
    """A night with that many files of a row each, beside the present one."""
    folder = archive.new(archive.folder(home, "science", NIGHT))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for part in range(number):
        pq.write_table(pa.table({"candid": [part]}), folder / f"part-{number}-{part}.parquet")
    Note([str(number)], number).save(folder)


def replace(home: Settings, number: int) -> None:
    make(home, number)
    archive.put(archive.folder(home, "science", NIGHT))


def number_of(night: Night) -> int:
    """Which merge made the night; it must be whole."""
    [number] = night.note.files
    assert [file.name for file in night.files] == [f"part-{number}-{part}.parquet" for part in range(int(number))]
    return int(number)


def test_a_night_that_was_never_merged_is_empty(home):
    assert archive.night(home, "science", NIGHT) == Night()


def test_a_night_takes_the_place_of_another(home, system):
    for number in (1, 3, 2):
        replace(home, number)
        assert number_of(archive.night(home, "science", NIGHT)) == number
    assert [file.name for file in archive.files(home, "science")] == ["part-2-0.parquet", "part-2-1.parquet"]
    archive.tidy(home)
    assert [one.name for one in archive.folder(home, "science", NIGHT).parent.iterdir()] == ["day=22"]


def killed(home: Settings, step: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Put the new night in its place, and be killed before that step; whether it has got to the end before."""
    left = iter(range(step))

    def until(real):
        def step(*arguments, **options):
            if next(left, None) is None:
                raise Killed
            return real(*arguments, **options)

        return step

    with monkeypatch.context() as patched:
        for name in ("rename", "unlink", "rmdir"):
            patched.setattr(os, name, until(getattr(os, name)))
        patched.setattr(archive, "exchange", until(archive.exchange))
        try:
            archive.put(archive.folder(home, "science", NIGHT))
        except Killed:
            return True
    return False


def test_killed_at_any_step_it_is_the_old_night_or_the_new(home, system, monkeypatch):
    step, seen = 0, set()
    while True:
        replace(home, 1)
        replace(home, 2)  # what was before is still there, beside it
        make(home, 3)
        again = killed(home, step, monkeypatch)
        number = number_of(archive.night(home, "science", NIGHT))
        archive.tidy(home)
        assert number_of(archive.night(home, "science", NIGHT)) == number
        seen.add(number)
        if not again:
            break
        step += 1
    assert (number, seen, step >= 5) == (3, {2, 3}, True)


def test_readers_never_see_half_a_night(home, system):
    replace(home, 1)
    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(lambda: [replace(home, 1 + number % 5) for number in range(60)])
        seen = {number_of(archive.night(home, "science", NIGHT))}
        while not writer.done():
            seen.add(number_of(archive.night(home, "science", NIGHT)))
    assert len(seen) > 1


def test_digests_tell_ids_apart_and_not_their_order(tmp_path):
    def digest(*files: list[int]) -> Digest:
        for number, ids in enumerate(files):
            pq.write_table(pa.table({"s": [{"id": one} for one in ids]}), tmp_path / f"{number}.parquet")
        return archive.digest([tmp_path / f"{number}.parquet" for number in range(len(files))], "s.id")

    ids = np.random.default_rng(1).integers(0, 2**63 - 1, 1_000).tolist()
    whole = digest(ids)
    assert whole.rows == 1_000
    assert digest(ids[::-1]) == whole == digest(ids[:300], ids[300:]) == digest(ids[:300]) + digest(ids[300:])
    assert digest(ids[1:]) != whole
    assert digest([ids[0], *ids[:-1]]) != whole, "one lost, another twice"
    # As many, with the same sum and the same exclusive or.
    assert (digest([1, 2, 4, 7]).total, digest([1, 2, 4, 7]).xor) == (digest([0, 3, 5, 6]).total, digest([0, 3, 5, 6]).xor)
    assert digest([1, 2, 4, 7]) != digest([0, 3, 5, 6])
