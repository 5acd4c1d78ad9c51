"""How the embedded servers' Java processes are started."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from fink_broker.config import Settings
from fink_broker.errors import ConfigError
from fink_broker.infra import jars

# A small machine is better served by little compilation than by peak speed.
_FLAGS = (
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
    "-Djava.net.preferIPv4Stack=true",
)

_LOG4J = Path(__file__).parent / "log4j.properties"


def executable() -> str:
    """Java of ``JAVA_HOME``, else of the path.

    Raises
    ------
    ConfigError
        There is none.
    """
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=str(Path(home) / "bin")) if home else shutil.which("java")
    if found is None:
        where = f"in JAVA_HOME ({home})" if home else "in JAVA_HOME or PATH"
        raise ConfigError(f"no Java {where}: install a JDK 17")
    return found


def command(
    settings: Settings, name: str, *, class_path: list[Path], heap: str, options: list[str], main: list[str], collector: str = "Serial"
) -> list[str]:
    """Command line of a server.

    Parameters
    ----------
    name : str
        Its log is ``HOME/log/<name>.log``.
    class_path : list of Path
        Folders; a folder of jars ends with ``*``.
    heap : str
        Largest heap, such as ``512m``.
    options : list of str
        More options of the virtual machine.
    main : list of str
        Class and arguments.
    collector : {"Serial", "G1"}
        Of garbage: the first needs one thread and the least CPU time, the second holds nobody up for long.
    """
    # Kafka comes without a logger; HBase's serves both.
    loggers = sorted(jars.folder("hbase").glob("*reload4j*.jar"))
    logging = [f"-Dlog4j.configuration={_LOG4J.as_uri()}", f"-Dfink.log={settings.log(name)}"]
    joined = os.pathsep.join(str(path) for path in [*class_path, *loggers])
    return [executable(), f"-Xmx{heap}", f"-XX:+Use{collector}GC", *_FLAGS, *logging, *options, "-cp", joined, *main]


def jar_folder(name: str) -> Path:
    """Class path entry of all jars of ``kafka`` or ``hbase``.

    Raises
    ------
    ConfigError
        They are not installed.
    """
    folder = jars.folder(name)
    if not any(folder.glob("*.jar")):
        raise ConfigError(f"the jars of {name} are not in {folder}: run fink once to install them")
    return folder / "*"


def properties(values: dict[str, object]) -> str:
    """Text of a Java properties file; values may hold blanks, backslashes and any letters."""
    return "".join(f"{key}={_escape(str(value))}\n" for key, value in values.items())


def _escape(value: str) -> str:
    escaped = value.replace("\\", "\\\\")
    return "".join(letter if " " <= letter <= "~" else f"\\u{ord(letter):04x}" for letter in escaped)
