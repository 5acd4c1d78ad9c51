"""Where the functions of plug-ins come from: the package, or a file of one's own."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fink_broker.errors import ConfigError

# Variables by which published plug-ins find a chat to post to: KNWEBHOOK, FINK_TG_TOKEN, ANOMALY_SLACK_TOKEN. What Hadoop and AWS name so
# is for Spark, and what has two underscores is a key of our configuration.
_CHAT = re.compile(r"WEBHOOK|SLACK|TELEGRAM|DISCORD|(^|_)TG_|^(?!HADOOP_|AWS_|FINK_\w+__)\w*TOKEN", re.IGNORECASE)


def is_for_chat(variable: str) -> bool:
    """Whether an environment variable lets a plug-in post somewhere, which is not its own to do."""
    return bool(_CHAT.search(variable))


@dataclass(frozen=True)
class Reference:
    """A function by name: small enough to send to a worker, which loads it once.

    Parameters
    ----------
    source : str
        Dotted name of a module, or path of a ``.py`` file.
    function : str
        Name of the function in it.
    text : str
        What the file held when it was looked at: it may change while the function is in use. Empty: the file is read where it is.
    """

    source: str
    function: str
    text: str = field(default="", repr=False)

    def __str__(self) -> str:
        """As the configuration names it."""
        return f"{self.source}:{self.function}"

    def load(self) -> Callable[..., Any]:
        """The function.

        Raises
        ------
        ConfigError
            There is no such file, module or function, or it does not import.
        """
        found = getattr(load_module(self.source, self.text), self.function, None)
        if not callable(found):
            raise ConfigError(f"{self.source} has no function '{self.function}'")
        return found  # type: ignore[no-any-return]

    def arguments(self) -> tuple[str, ...]:
        """Names of the function's arguments: they are column names."""
        return tuple(inspect.signature(self.load()).parameters)


def load_module(source: str, text: str = "") -> Any:
    """Import a module by its dotted name or the path of its ``.py`` file, once.

    Parameters
    ----------
    source : str
        Dotted name, or path.
    text : str
        What the file held, see `Reference`.

    Raises
    ------
    ConfigError
        There is no such file or module, or it does not import; the message names file and line.
    """
    return _loaded(source, text)


@functools.cache
def _loaded(source: str, text: str) -> Any:
    try:
        if not source.endswith(".py"):
            return importlib.import_module(source)
        path = Path(source)
        name = f"fink_plugin_{path.stem}_{hashlib.sha256(f'{source}{text}'.encode()).hexdigest()[:8]}"
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None or not (text or path.is_file()):
            raise ConfigError(f"there is no file {path}")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        if text:
            exec(compile(text, source, "exec"), module.__dict__)
        else:
            spec.loader.exec_module(module)
        return module
    except ConfigError:
        raise
    # Anything may go wrong while somebody's file is imported, an exit too: whoever wrote it needs to know what.
    except (Exception, SystemExit) as error:
        where = _line(source, error)
        raise ConfigError(f"{source}{where} does not import: {type(error).__name__}: {' '.join(str(error).split())}") from error


def _line(source: str, error: BaseException) -> str:
    """Where in the file it happened."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == source]
    if isinstance(error, SyntaxError) and error.filename == source:
        lines.append(error.lineno)
    return f", line {lines[-1]}," if lines else ""
