"""Where the functions of plug-ins come from: the package, or a file of one's own."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fink_broker.errors import ConfigError


@dataclass(frozen=True)
class Reference:
    """A function by name: small enough to send to a worker, which loads it once.

    Parameters
    ----------
    source : str
        Dotted name of a module, or path of a ``.py`` file.
    function : str
        Name of the function in it.
    """

    source: str
    function: str

    def load(self) -> Callable[..., Any]:
        """The function.

        Raises
        ------
        ConfigError
            There is no such file, module or function, or it does not import.
        """
        found = getattr(load_module(self.source), self.function, None)
        if not callable(found):
            raise ConfigError(f"{self.source} has no function '{self.function}'")
        return found  # type: ignore[no-any-return]

    def arguments(self) -> tuple[str, ...]:
        """Names of the function's arguments: they are column names."""
        return tuple(inspect.signature(self.load()).parameters)


@functools.cache
def load_module(source: str) -> Any:
    """Import a module by its dotted name or the path of its ``.py`` file, once.

    Raises
    ------
    ConfigError
        There is no such file or module, or it does not import.
    """
    try:
        if not source.endswith(".py"):
            return importlib.import_module(source)
        path = Path(source)
        name = f"fink_plugin_{path.stem}_{hashlib.sha256(source.encode()).hexdigest()[:8]}"
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None or not path.is_file():
            raise ConfigError(f"there is no file {path}")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module
    except ConfigError:
        raise
    # Anything may go wrong while somebody's file is imported, an exit too: whoever wrote it needs to know what.
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{source} does not import: {type(error).__name__}: {' '.join(str(error).split())}") from error
