"""Files that come out of somebody's wheel: downloaded by pip, and only of the very wheel that is known."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fink_broker.errors import FinkError


@contextmanager
def opened(requirement: str, sha256: str, given: Path | None = None) -> Iterator[zipfile.ZipFile]:
    """Open a wheel.

    Parameters
    ----------
    requirement : str
        Name and version, such as ``fink-science==7.4.0``.
    sha256 : str
        That of the wheel, hexadecimal.
    given : Path, optional
        The wheel itself, where it need not be downloaded.

    Raises
    ------
    FinkError
        It cannot be had, or is another one.
    """
    with tempfile.TemporaryDirectory() as folder:
        wheel = given or _downloaded(requirement, Path(folder))
        try:
            data = wheel.read_bytes()
        except OSError as error:
            raise FinkError(f"cannot read {wheel}: {error.strerror}") from error
        found = hashlib.sha256(data).hexdigest()
        if found != sha256:
            raise FinkError(f"{wheel} is not the wheel of {requirement}: sha-256 {found} instead of {sha256}")
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            yield archive


def _downloaded(requirement: str, folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "download"]
    command = [*pip, "--no-deps", "--only-binary=:all:", "--dest", str(folder), requirement]
    if subprocess.run(command, check=False).returncode:
        raise FinkError(f"pip could not download {requirement}: is there a network? Else give the file with --wheel")
    return next(folder.glob("*.whl"))
