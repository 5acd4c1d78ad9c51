"""Files and folders that are there whole or not at all."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

# Of Linux (renameat2, since 3.15): paths are those of this process; both names stay, and what they stand for changes.
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
# The system, or this file system (NFS), cannot.
_CANNOT = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)


def write_whole(path: Path, text: str) -> None:
    """Write a file, with the folders above it: a reader sees the old one or the new one, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    with new.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def exchange(one: Path, other: Path) -> bool:
    """Two folders change names in one step: a reader of either sees what it was or what it is.

    Returns
    -------
    bool
        Whether they did; nothing has happened where the system or its file system cannot.
    """
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    fault = ctypes.get_errno()
    if fault in _CANNOT:
        return False
    raise OSError(fault, os.strerror(fault), str(one), None, str(other))
