"""The logs of Structured Streaming."""

from __future__ import annotations

import json
from pathlib import Path

from fink_broker.connectors.sparklog import entries, newest, offsets, trim


def write(log: Path, name: str, *lines: object) -> None:
    log.mkdir(exist_ok=True)
    (log / name).write_text("\n".join(["v1", *map(json.dumps, lines)]))


def test_a_log_that_is_not_there(tmp_path: Path):
    assert newest(tmp_path / "nowhere") == -1
    assert list(entries(tmp_path / "nowhere")) == []


def test_the_newest_is_the_highest_number_not_the_last_name(tmp_path: Path):
    for name in ("2", "10", "9.compact", ".11.crc", "metadata", "12.tmp"):
        write(tmp_path, name)
    assert newest(tmp_path) == 10
    write(tmp_path, "19.compact")
    assert newest(tmp_path) == 19


def test_entries_come_once_and_in_order(tmp_path: Path):
    """What a compacted file holds is not read again from the files that it has replaced, which stay for a while."""
    for number in range(12):
        write(tmp_path, str(number), {"path": f"f{number}"})
    (tmp_path / "9").unlink()
    write(tmp_path, "9.compact", *[{"path": f"f{number}", "batchId": number} for number in range(9)], {"path": "f9"})
    assert [(number, entry["path"]) for number, entry in entries(tmp_path)] == [(number, f"f{number}") for number in range(12)]


def test_batches_of_a_compacted_file_that_does_not_name_them(tmp_path: Path):
    """As a file sink's does not; an earlier compacted file (4) held its own batch too, batch 7 wrote nothing."""
    paths = [f"f{number}" for number in range(10) if number != 7]
    for number in (2, 3, 5, 6, 7, 8, 10):
        write(tmp_path, str(number), *([{"path": f"f{number}"}] if number != 7 else []))
    write(tmp_path, "4.compact", *[{"path": path} for path in paths[:5]])
    write(tmp_path, "9.compact", *[{"path": path} for path in paths], {"path": "g9"})
    found = [(number, entry["path"]) for number, entry in entries(tmp_path)]
    assert found == [(1, "f0"), (1, "f1"), *[(int(path[1:]), path) for path in paths[2:]], (9, "g9"), (10, "f10")]
    for number in (2, 3, 5, 6, 7, 8):
        (tmp_path / str(number)).unlink()
    assert {number for number, _ in entries(tmp_path)} == {9, 10}


def test_entries_are_taken_out_of_the_newest_compacted_file(tmp_path: Path):
    assert trim(tmp_path, lambda entry: True) == 0
    for name in ("9.compact", "19.compact", "20"):
        write(tmp_path, name, {"path": "a"}, {"path": "b"}, {"path": "c"})
    (tmp_path / ".19.compact.crc").write_bytes(b"of another content")
    assert trim(tmp_path, lambda entry: entry["path"] in ("a", "c")) == 2
    assert [(number, entry["path"]) for number, entry in entries(tmp_path)] == [(19, "b"), (20, "a"), (20, "b"), (20, "c")]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["19.compact", "20", "9.compact"]
    assert trim(tmp_path, lambda entry: False) == 0


def test_a_batch_without_files(tmp_path: Path):
    write(tmp_path, "0")
    write(tmp_path, "1", {"path": "a"}, {"path": "b"})
    assert [(number, entry["path"]) for number, entry in entries(tmp_path)] == [(1, "a"), (1, "b")]


def test_offsets_of_a_batch(tmp_path: Path):
    (tmp_path / "offsets").mkdir()
    (tmp_path / "offsets" / "3").write_text('v1\n{"batchWatermarkMs":0}\n{"ztf":{"0":17,"1":4}}')
    assert offsets(tmp_path, 3) == {"ztf": {"0": 17, "1": 4}}
