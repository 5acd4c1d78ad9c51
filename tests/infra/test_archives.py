"""What only few need is fetched when it is first asked for, whole and as locked, or not at all; the real Ivy with a mirror on disk."""

from __future__ import annotations

import hashlib
import io
import sys
import tarfile
from pathlib import Path

import pytest

from fink_broker.errors import FinkError
from fink_broker.infra import archives, jars
from fink_broker.infra.jars import Jar


def packed(**files: bytes) -> bytes:
    """An archive with these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"lib/{name}")
            entry.size = len(data)
            file.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


class Site:
    """A FINK_SETUP, and a mirror with one archive, which the lock names."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.mirror = folder / "mirror"
        self.setup = folder / "set up"
        self.setup.mkdir()
        (self.setup / "venv").symlink_to(sys.prefix)
        monkeypatch.setenv("FINK_SETUP", str(self.setup))
        monkeypatch.setenv("FINK_MAVEN", self.mirror.as_uri())
        monkeypatch.setattr(jars, "read_lock", lambda _, of: [jar for jar in [self.archive] if jar.class_path in of])

    def offer(self, data: bytes, rev: str = "1.0", sha256: str = "") -> None:
        self.archive = Jar("registry", "org.example", "reg", rev, sha256 or hashlib.sha256(data).hexdigest())
        place = self.mirror / "org" / "example" / "reg" / rev / f"reg-{rev}-all.tar.gz"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)

    def unpack(self) -> Path:
        return archives.unpacked("registry", "the thing (1 MB)")

    def present(self) -> set[str]:
        """What lies in the installation, but for the environment."""
        return {str(path.relative_to(self.setup)) for path in self.setup.rglob("*") if path.is_file() and "venv" not in path.parts}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, monkeypatch)


def test_an_archive_is_fetched_once(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.offer(packed(a=b"1", b=b"22"))
    place = site.unpack()
    assert place == site.setup / "jars" / "registry" / "reg-1.0"
    assert {path.name: path.read_bytes() for path in (place / "lib").iterdir()} == {"a": b"1", "b": b"22"}
    assert site.present() == {"jars/registry/reg-1.0/lib/a", "jars/registry/reg-1.0/lib/b", "lock", "setup.log"}
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"the thing (1 MB) is fetched into {site.setup}, once (details: setup.log there)"
    assert second.endswith(" s  the thing (1 MB), as locked by its SHA-256")

    (site.mirror / "org").rename(site.mirror / "gone")
    assert site.unpack() == place
    assert capsys.readouterr().err == ""


def test_another_version_takes_the_place_of_the_earlier_one(site: Site) -> None:
    site.offer(packed(a=b"1"))
    site.unpack()
    site.offer(packed(c=b"3"), "2.0")
    site.unpack()
    assert site.present() == {"jars/registry/reg-2.0/lib/c", "lock", "setup.log"}


def test_an_archive_with_another_sha256_is_refused(site: Site) -> None:
    site.offer(packed(a=b"1"), sha256="0" * 64)
    with pytest.raises(FinkError, match=r"reg-1\.0\.tar\.gz is not the jar that was locked .*: check the mirror"):
        site.unpack()
    assert not (site.setup / "jars").exists()
    site.offer(packed(a=b"1"))
    assert (site.unpack() / "lib" / "a").read_bytes() == b"1"


def test_what_a_cut_off_unpacking_left_does_not_matter(site: Site) -> None:
    left = site.setup / "tmp-registry" / "new" / "lib"
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"?")
    site.offer(packed(a=b"1"))
    assert [path.name for path in (site.unpack() / "lib").iterdir()] == ["a"]


def test_no_network_is_one_line(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.offer(packed(a=b"1"))
    monkeypatch.setenv("FINK_MAVEN", "http://127.0.0.1:9")
    with pytest.raises(FinkError, match=r"^the package servers cannot be reached: check the network or the proxy") as raised:
        site.unpack()
    assert "\n" not in str(raised.value)
