"""The jars of the three class paths: where they lie, and how they are fetched by the lock and checked.

Standard library only: this runs before any package is installed. ``python -m fink_broker.infra.jars lock`` makes
``jars.lock`` anew from ``ivy.xml`` when versions change; a set-up then fetches exactly what the lock names.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

from fink_broker.errors import FinkError

CLASS_PATHS = ("spark", "kafka", "hbase")
# One archive of many jars each, large and needed by few: fetched at its first use, not by the set-up.
ARCHIVES = ("registry",)
LOCK = Path(__file__).with_name("jars.lock")
WANTED = Path(__file__).with_name("ivy.xml")

# Ivy asks for one jar after another, and the wait is for answers: a few at once take a third of the time.
_AT_ONCE = 4

# Runs a command, its output in the set-up's log; returns its exit code.
Run = Callable[[list[str]], int]


@dataclass(frozen=True)
class Jar:
    """One line of the lock: a jar (or archive of jars) of Maven Central and the class path that it is for."""

    class_path: str
    org: str
    name: str
    rev: str
    sha256: str

    @property
    def path(self) -> Path:
        """Where it lies: folder of the class path and file name."""
        return Path(self.class_path) / f"{self.name}-{self.rev}{_suffix(self.class_path)}"


def _suffix(class_path: str) -> str:
    return ".tar.gz" if class_path in ARCHIVES else ".jar"


def setup() -> Path:
    """The installation's folder: ``FINK_SETUP``, else ``var/setup`` in the checkout."""
    checkout = os.environ.get("FINK_HOME") or Path(__file__).resolve().parents[2]
    return Path(os.environ.get("FINK_SETUP") or Path(checkout) / "var" / "setup")


def folder(name: str) -> Path:
    """Folder of the jars of one class path: ``spark``, ``kafka`` or ``hbase``."""
    return setup() / "jars" / name


def read_lock(path: Path = LOCK, of: Sequence[str] = CLASS_PATHS) -> list[Jar]:
    """The jars that the lock names for some class paths.

    Raises
    ------
    FinkError
        A line has another form than ``class_path org name rev sha256``.
    """
    jars = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fields = line.split()
        if not fields or line.startswith("#"):
            continue
        if len(fields) != 5 or fields[0] not in (*CLASS_PATHS, *ARCHIVES) or len(fields[4]) != 64:
            raise FinkError(f"{path}:{number}: not a line of the lock; make it anew with python -m fink_broker.infra.jars lock")
        jars.append(Jar(*fields))
    return [jar for jar in jars if jar.class_path in of]


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(jars: list[Jar], into: Path, work: Path, run: Run) -> None:
    """Bring a folder of class paths into agreement with the lock: fetch what is missing, remove what is not in it.

    A jar is moved into place only after its SHA-256 was found right, so an interrupted fetch leaves nothing half done.

    Parameters
    ----------
    jars : list of Jar
        The lock.
    into : Path
        Folder of the class paths' folders.
    work : Path
        Folder on the same disk for Ivy's own files; removed when all is done.
    run : callable
        Runs a command, see `Run`.

    Raises
    ------
    FinkError
        Ivy failed (its exit is in the log), or a jar is not the one that was locked.
    """
    missing = [jar for jar in jars if not _is_right(into / jar.path, jar)]
    parts = [missing[start::_AT_ONCE] for start in range(_AT_ONCE)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        tasks = [pool.submit(_retrieve, work / str(number), part, run) for number, part in enumerate(parts) if part]
        codes = [task.result() for task in tasks]
    for number, part in enumerate(parts):
        for jar in part:
            _accept(work / str(number) / "lib" / jar.path, into / jar.path, jar)
    if any(codes):
        raise FinkError("Ivy could not fetch every jar")
    _remove_strangers(jars, into)
    shutil.rmtree(work, ignore_errors=True)


def _is_right(path: Path, jar: Jar) -> bool:
    return path.is_file() and sha256(path) == jar.sha256


def _accept(fetched: Path, place: Path, jar: Jar) -> None:
    if not fetched.exists():
        return  # Ivy has failed for it, and has said so by its exit code
    found = sha256(fetched)
    if found != jar.sha256:
        shutil.rmtree(fetched.parents[2])
        raise FinkError(f"{jar.path.name} is not the jar that was locked (SHA-256 {found}): check the mirror (FINK_MAVEN), then run again")
    place.parent.mkdir(parents=True, exist_ok=True)
    fetched.replace(place)


def _remove_strangers(jars: Iterable[Jar], into: Path) -> None:
    """Remove jars of earlier versions: all that lies in a folder is on its class path."""
    known = {jar.path for jar in jars}
    for name in CLASS_PATHS:
        for path in (into / name).glob("*"):
            if path.relative_to(into) not in known:
                path.unlink()


def _retrieve(work: Path, jars: list[Jar], run: Run) -> int:
    work.mkdir(parents=True, exist_ok=True)
    (work / "ivy.xml").write_text(_module(jars), encoding="utf-8")
    settings = _settings(work / "cache", 'usepoms="false" useMavenMetadata="false"')
    (work / "settings.xml").write_text(settings, encoding="utf-8")
    pattern = f"{work}/lib/[conf]/[artifact]-[revision].[ext]"
    return run(_ivy(work / "settings.xml", work / "ivy.xml", pattern))


def _module(jars: Iterable[Jar]) -> str:
    """An Ivy module that names each jar by itself: nothing is left to resolve."""
    lines = [
        f"<dependency org={quoteattr(jar.org)} name={quoteattr(jar.name)} rev={quoteattr(jar.rev)}"
        f' conf="{jar.class_path}->default" transitive="false">{_artifact(jar)}</dependency>'
        for jar in jars
    ]
    confs = "".join(f'<conf name="{name}"/>' for name in (*CLASS_PATHS, *ARCHIVES))
    return (
        '<ivy-module version="2.0" xmlns:m="http://ant.apache.org/ivy/maven"><info organisation="fink" module="jars"/>'
        f"<configurations>{confs}</configurations>\n<dependencies>\n" + "\n".join(lines) + "\n</dependencies></ivy-module>\n"
    )


def _artifact(jar: Jar) -> str:
    if jar.class_path not in ARCHIVES:
        return ""
    return f'<artifact name={quoteattr(jar.name)} type="tar.gz" ext="tar.gz" m:classifier="all"/>'


def _settings(cache: Path, options: str) -> str:
    """Ivy's settings: Maven Central, or the site's own mirror named by ``FINK_MAVEN``.

    Two revisions of one jar may be wanted on different class paths, so nothing is evicted; the checksums that lie
    beside a jar are not asked for, because the lock holds better ones.
    """
    mirror = os.environ.get("FINK_MAVEN", "").rstrip("/")
    root = f" root={quoteattr(mirror + '/')}" if mirror else ""
    return (
        '<ivysettings><property name="ivy.checksums" value=""/><settings defaultResolver="central"/>'
        f"<caches defaultCacheDir={quoteattr(str(cache))}/>"
        f'<resolvers><ibiblio name="central" m2compatible="true"{root} {options}/></resolvers></ivysettings>\n'
    )


def _ivy(settings: Path, module: Path, pattern: str) -> list[str]:
    """Command line of the Ivy that PySpark ships."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else "java"
    found = sorted(setup().glob("venv/lib/python3*/site-packages/pyspark/jars/ivy-*.jar"))
    if not found:
        raise FinkError(f"PySpark in {setup() / 'venv'} has no Ivy: remove that folder and run again")
    flags = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx256m"]
    main = ["org.apache.ivy.Main", "-settings", str(settings), "-ivy", str(module), "-confs", *CLASS_PATHS, *ARCHIVES]
    return [java, *flags, "-cp", str(found[-1]), *main, "-retrieve", pattern]


def make_lock(work: Path, run: Run) -> str:
    """Resolve ``ivy.xml`` with all dependencies (minutes) and return the text of the lock."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    (work / "settings.xml").write_text(_settings(work / "cache", ""), encoding="utf-8")
    pattern = f"{work}/lib/[conf]/[organisation]#[module]#[revision].[ext]"
    if run(_ivy(work / "settings.xml", WANTED, pattern)):
        raise FinkError("Ivy could not resolve ivy.xml: see above")
    lines = ["# Made from ivy.xml by: python -m fink_broker.infra.jars lock", "# class path, organisation, name, revision, SHA-256"]
    for name in (*CLASS_PATHS, *ARCHIVES):
        for path in sorted((work / "lib" / name).glob(f"*{_suffix(name)}")):
            lines.append(" ".join([name, *path.name.removesuffix(_suffix(name)).split("#"), sha256(path)]))
    return "\n".join(lines) + "\n"


def main(argv: list[str]) -> int:
    """``lock`` makes the lock anew, ``check`` compares what is installed with it."""
    if argv == ["lock"]:
        LOCK.write_text(make_lock(setup() / "lock", lambda command: subprocess.run(command, check=False).returncode), encoding="utf-8")
        return 0
    if argv == ["check"]:
        wrong = [str(jar.path) for jar in read_lock() if not _is_right(setup() / "jars" / jar.path, jar)]
        print("\n".join(["missing or not as locked:", *wrong]) if wrong else f"all jars in {setup() / 'jars'} are as locked")
        return 1 if wrong else 0
    print("usage: python -m fink_broker.infra.jars lock | check", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
