"""Reading the configuration: one file and the environment; what is wrong with it in one line."""

from __future__ import annotations

import difflib
import os
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError

from fink_broker.config.settings import CHECKOUT, Settings
from fink_broker.errors import ConfigError
from fink_broker.plugins import is_for_chat

DEFAULT_CONF = CHECKOUT / "conf" / "fink.conf"

# Variables of the launcher, and one of the package fink-filters, that are not keys of the configuration.
_RESERVED = {"FINK_HOME", "FINK_CONF", "FINK_SETUP", "FINK_PYTHON", "FINK_MAVEN", "FINK_TG_TOKEN"}


def conf_path(argument: str | None = None) -> Path:
    """The configuration file in force: the argument, else ``FINK_CONF``, else ``conf/fink.conf`` of the checkout."""
    return Path(argument or os.environ.get("FINK_CONF") or DEFAULT_CONF)


def load(argument: str | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read and check the configuration.

    Parameters
    ----------
    argument : str, optional
        Path given with ``-c``.
    environ : mapping, optional
        Environment; default ``os.environ``.

    Raises
    ------
    ConfigError
        The file is missing or no TOML, a key is unknown, a value is of the wrong kind.
    """
    path = conf_path(argument)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}; give another with -c or FINK_CONF") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    set_by = from_environment(os.environ if environ is None else environ)
    _merge(values, set_by)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_first_line(path, set_by, error)) from error


def from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Keys set by ``FINK_*`` variables, nested as in the file.

    A value is read as TOML where it is TOML (numbers, lists, booleans), else as a bare string.
    """
    values: dict[str, Any] = {}
    for variable in variables(environ):
        path = _path(variable)
        _merge(values, _nest(path, _value(environ[variable], path)))
    return values


def variables(environ: Mapping[str, str]) -> list[str]:
    """The variables that set keys of the configuration."""
    return sorted(name for name in environ if name.startswith("FINK_") and name not in _RESERVED)


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for programs that need none of our passwords, and for plug-ins, which are not to post anywhere."""
    secret = {name for name in variables(environ) if SecretStr in _kinds(_path(name))}
    return {name: value for name, value in environ.items() if name not in secret and not is_for_chat(name)}


def _path(variable: str) -> list[str]:
    return variable.removeprefix("FINK_").removeprefix("_").lower().split("__")


def _value(text: str, path: list[str]) -> Any:
    # Text is taken as it is, so that a password 12345 stays one.
    if any(kind in (str, Path, SecretStr) for kind in _kinds(path)):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _kinds(path: list[str]) -> tuple[Any, ...]:
    """The types that a key takes; none if it is not known."""
    kind: Any = Settings
    for part in path:
        # Of what goes by names of one's own, all have one type.
        fields = {part: typing.get_args(kind)[1]} if typing.get_origin(kind) is dict else _fields(kind)
        if part not in fields:
            return ()
        kind = fields[part]
    return typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)


def _nest(path: list[str], value: Any) -> dict[str, Any]:
    head, *rest = path
    return {head: _nest(rest, value) if rest else value}


def _merge(into: dict[str, Any], new: dict[str, Any]) -> None:
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _first_line(path: Path, set_by: dict[str, Any], error: ValidationError) -> str:
    """The first fault in one line: where and which key, what is wrong, and for an unknown key the nearest known one."""
    fault = error.errors(include_url=False, include_input=False)[0]
    key = ".".join(str(part) for part in fault["loc"])
    if _holds(set_by, fault["loc"]):
        where = f"the environment variable FINK_{'__'.join(str(part) for part in fault['loc']).upper()}"
    else:
        where = str(path)
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if fault["type"] != "extra_forbidden":
        return f"{where}: {key}: {fault['msg'].removeprefix('Value error, ')}{more}"
    near = difflib.get_close_matches(str(fault["loc"][-1]), _known_keys(fault["loc"][:-1]), n=1, cutoff=0.5)
    hint = f", did you mean '{near[0]}'?" if near else "; fink config show lists the known keys"
    return f"{where}: unknown key '{key}'{hint}{more}"


def _holds(values: Any, path: tuple[int | str, ...]) -> bool:
    for part in path:
        if not isinstance(values, dict) or part not in values:
            return False
        values = values[part]
    # What is wrong with a whole section is not one variable's fault.
    return not isinstance(values, dict)


def _known_keys(where: tuple[int | str, ...]) -> list[str]:
    model: Any = Settings
    for part in where:
        model = typing.get_args(model)[0] if isinstance(part, int) else _fields(model)[part]
    return list(_fields(model))


def _fields(model: Any) -> dict[str, Any]:
    """The keys of a section as the file has them, with their types; none of what is no section."""
    return {field.alias or name: field.annotation for name, field in getattr(model, "model_fields", {}).items()}
