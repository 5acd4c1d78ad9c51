"""What modules load is kept: published modules read their models and tables anew for every batch.

While a module runs, the functions that load files answer from memory if the file (path, time of change, size) and the arguments are
those of an earlier call. The module's code stays as it is, and nobody else's calls are touched.
"""

from __future__ import annotations

import functools
import os
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd

# Of libraries that are there by then.
_LOADERS = (
    ("pandas", "read_parquet"),
    ("pandas", "read_csv"),
    ("pickle", "load"),
    ("joblib", "load"),
    ("onnxruntime", "InferenceSession"),
    ("torch", "load"),
)
_MOST = 64

_kept: OrderedDict[Any, Any] = OrderedDict()


@contextmanager
def remembered() -> Iterator[None]:
    """Inside, files are loaded once."""
    before = []
    try:
        for library, name in _LOADERS:
            module = sys.modules.get(library)
            if module is not None:
                original = getattr(module, name)
                before.append((module, name, original))
                setattr(module, name, _remembering(original))
        yield
    finally:
        for module, name, original in before:
            setattr(module, name, original)


@functools.cache
def _remembering(load: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(load)
    def loaded(*args: Any, **kwargs: Any) -> Any:
        key = _key(load, args, kwargs)
        if key is None:
            return load(*args, **kwargs)
        if key not in _kept:
            _kept[key] = load(*args, **kwargs)
            if len(_kept) > _MOST:
                _kept.popitem(last=False)
        _kept.move_to_end(key)
        found = _kept[key]
        # A table is its caller's to change.
        return found.copy() if isinstance(found, pd.DataFrame | pd.Series) else found

    return loaded


def _key(load: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a call asks for; None if that is not a whole file, or cannot be compared."""
    if not args:
        return None
    source = getattr(args[0], "name", args[0])
    try:
        if hasattr(args[0], "tell") and args[0].tell():
            return None
        state = os.stat(source)
        key = (load, os.fspath(source), state.st_mtime_ns, state.st_size, args[1:], tuple(sorted(kwargs.items())))
        hash(key)
    except (OSError, TypeError, ValueError):
        return None
    return key
