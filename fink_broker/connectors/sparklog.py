"""The metadata logs of Structured Streaming: a file a batch (`7`), and now and then one for all before it (`9.compact`).

Each holds a version line and then one JSON object a line (Spark 4.0: `HDFSMetadataLog`, `CompactibleFileStreamLog`).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any


def newest(log: Path) -> int:
    """Number of the newest batch in a log, compacted or not; -1 for none."""
    names = (file.name.removesuffix(".compact") for file in log.glob("[0-9]*"))
    return max((int(name) for name in names if name.isdigit()), default=-1)


def entries(log: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Batch number and entry of a compactible log, oldest first.

    An entry's batch is the one that it names (`batchId`), else that of its file. A compacted file says it only by the order of its entries,
    and by the files that it has replaced, as long as these are there: of batches before all of them, one number stands for all.

    Parameters
    ----------
    log : Path
        Folder of the log; one that is not there has no entries.
    """
    plain = {int(file.name): file for file in log.glob("[0-9]*") if file.name.isdigit()}
    compact = {int(file.name.removesuffix(".compact")): file for file in log.glob("[0-9]*.compact")}
    base = max(compact, default=-1)
    if compact:
        yield from _compacted(base, compact[base], {number: file for number, file in plain.items() if number < base})
    for number in sorted(plain):
        if number > base:
            yield from ((int(entry.get("batchId", number)), entry) for entry in _lines(plain[number]))


def _compacted(base: int, file: Path, before: Mapping[int, Path]) -> Iterator[tuple[int, dict[str, Any]]]:
    known: dict[str, int] = {}
    for number, plain in before.items():
        with contextlib.suppress(FileNotFoundError):  # Spark clears them away after a while
            known |= {entry["path"]: number for entry in _lines(plain)}
    left = len(known)
    batch = min(known.values(), default=base + 1) - 1
    for entry in _lines(file):
        number = known.get(entry["path"], batch)
        yield int(entry.get("batchId", number)), entry
        if entry["path"] in known:
            left -= 1
            # What comes between two that are known is of an earlier compacted file.
            batch = number + 1 if left else base


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    return map(json.loads, file.read_text(encoding="utf-8").splitlines()[1:])


def trim(log: Path, gone: Callable[[dict[str, Any]], bool]) -> int:
    """Take entries out of the newest compacted file of a log; how many.

    Spark never changes such a file again, but writes the next one, from it. If it does so at this very moment, they are in there once more.
    """
    newest_compact = max(log.glob("[0-9]*.compact"), key=lambda file: int(file.name.removesuffix(".compact")), default=None)
    if newest_compact is None:
        return 0
    version, *lines = newest_compact.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not gone(json.loads(line))]
    if len(kept) < len(lines):
        new = log / f".{newest_compact.name}.new"
        new.write_text("\n".join([version, *kept]), encoding="utf-8")
        # The checksum first: Spark reads a file without one, but not one whose checksum is another's.
        (log / f".{newest_compact.name}.crc").unlink(missing_ok=True)
        new.rename(newest_compact)
    return len(lines) - len(kept)


def offsets(checkpoint: Path, batch: int, source: int = 0) -> Any:
    """Where a batch ends in one of the query's sources: topic to partition to next offset for Kafka, ``logOffset`` for a folder.

    None if nothing has been read from that source yet.
    """
    lines = (checkpoint / "offsets" / str(batch)).read_text(encoding="utf-8").splitlines()
    # A query that was begun without the source has no line for it.
    return json.loads(lines[2 + source]) if len(lines) > 2 + source and lines[2 + source] != "-" else None
