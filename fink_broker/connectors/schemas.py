"""Where the schemas of alerts that come without are: a schema registry (the API of Confluent's), a folder, or one file."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

from fastavro.repository import AbstractSchemaRepository, SchemaRepositoryError
from fastavro.schema import SchemaParseException, UnknownType, load_schema

from fink_broker.config import Settings
from fink_broker.connectors.avro import compact
from fink_broker.errors import ConfigError, ServerUnavailable
from fink_broker.infra import registry

_ANSWER_S = 10.0
_AT_ONCE = 8

# Error codes of the registry's API for what it does not know.
_NOT_FOUND = (40401, 40402, 40403)

_ID = re.compile(r"(?P<id>[0-9]+)|.*\.v(?P<major>[0-9]+)_(?P<minor>[0-9]+)\.alert")


class SchemaSource(Protocol):
    """Writer schemas by the id that stands before each alert."""

    def by_id(self, schema_id: int) -> str | None:
        """The schema as JSON text that needs no other, or None if there is none of this id.

        Raises
        ------
        ServerUnavailable
            The registry does not answer.
        ConfigError
            What is there is no Avro schema, or is not to be read.
        """

    def known(self) -> dict[int, str]:
        """All schemas that are there now, by id, as `by_id` gives them and with the same errors."""


def source(where: str, settings: Settings) -> SchemaSource:
    """Where schemas come from, by the value of the key ``[kafka.input] schemas``.

    Parameters
    ----------
    where : str
        URL of a registry, ``local`` (the embedded one), a folder or a file, see `Folder`; relative paths are below the checkout.
    settings : Settings
        Configuration.

    Raises
    ------
    ServerUnavailable
        The embedded registry does not run.
    ConfigError
        There is no such folder or file.
    """
    if where == "local":
        return Registry(registry.address(settings))
    if where.startswith(("http://", "https://")):
        return Registry(where)
    path = settings.below_checkout(Path(where).expanduser())
    if not path.exists():
        raise ConfigError(f"no schemas at {path}: give the URL of a registry, local, a folder or a file in [kafka.input] schemas")
    return Folder(path)


class Registry:
    """A schema registry with the API of Confluent's.

    Parameters
    ----------
    url : str
        Root of the API.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        try:
            parts = urlsplit(url)
            host, login = parts.hostname, parts.username
        except ValueError as error:
            raise ConfigError(f"'{url}' is not the URL of a schema registry: {error}") from error
        if not host or login is not None:
            raise ConfigError("the URL of the schema registry must have a host and no user name: [kafka.input] schemas")
        # A proxy of the environment is not for this machine.
        here = host in ("localhost", "127.0.0.1", "::1")
        self._opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if here else []))
        self._found: dict[int, str] = {}  # an id means the same schema for ever

    def by_id(self, schema_id: int) -> str | None:
        """See `SchemaSource`."""
        if schema_id not in self._found:
            entry = self._ask(f"schemas/ids/{schema_id}")
            text = None if entry is None else self._text(entry)
            if text is None:
                return None
            self._found[schema_id] = text
        return self._found[schema_id]

    def known(self) -> dict[int, str]:
        """See `SchemaSource`: every version of every subject; schemas of other kinds than Avro are left out."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            subjects = [f"subjects/{quote(subject, safe='')}/versions" for subject in self._ask("subjects") or []]
            versions = [
                f"{path}/{version}" for path, found in zip(subjects, pool.map(self._ask, subjects), strict=True) for version in found or []
            ]
            for entry in pool.map(self._ask, versions):
                text = None if entry is None else self._text(entry)
                if text is not None:
                    self._found[entry["id"]] = text
        return dict(sorted(self._found.items()))

    def _text(self, entry: dict[str, Any]) -> str | None:
        """The schema of an entry, with what it refers to written into it; None if it is no Avro."""
        if entry.get("schemaType", "AVRO") != "AVRO":
            return None
        parts = {"": entry["schema"]}
        left = list(entry.get("references") or [])
        while left:
            reference = left.pop()
            if reference["name"] not in parts:
                part = self._ask(f"subjects/{quote(reference['subject'], safe='')}/versions/{reference['version']}") or {}
                parts[reference["name"]] = part.get("schema", "")
                left += part.get("references") or []
        return entry["schema"] if len(parts) == 1 else _self_contained("", _Parts(parts), self._url)

    def _ask(self, path: str) -> Any:
        """The answer to a question; None for what the registry does not know."""
        url = f"{self._url}/{path}"
        try:
            with self._opener.open(urllib.request.Request(url, headers={"Accept": "application/json"}), timeout=_ANSWER_S) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 404 and _error_code(error) in _NOT_FOUND:
                return None
            if error.code >= 500 or error.code == 429:
                raise ServerUnavailable(f"the schema registry at {self._url} is not ready: {error.code} {error.reason}") from error
            raise ConfigError(f"the schema registry at {self._url} refused {url}: {error.code} {error.reason}; check the URL") from error
        except ValueError as error:
            raise ConfigError(f"{url} does not answer as a schema registry does: check the URL in [kafka.input] schemas") from error
        except (OSError, HTTPException) as error:
            raise ServerUnavailable(f"the schema registry at {self._url} does not answer: {getattr(error, 'reason', error)}") from error


def _error_code(error: urllib.error.HTTPError) -> object:
    try:
        body = json.load(error)
    except ValueError:
        return None
    return body.get("error_code") if isinstance(body, dict) else None


class Folder:
    """Files with schemas: a folder of them, or one.

    Parameters
    ----------
    path : Path
        A file ``<id>.avsc``, or ``<survey>.v<major>_<minor>.alert.avsc``, whose id is 100 major + minor as at Rubin (the parts that it
        refers to lie beside it, each under its full name); any other single file has the id 0. Or a folder with such files at any depth.
    """

    def __init__(self, path: Path) -> None:
        self._files: dict[int, Path] = {}
        for file in sorted(path.rglob("*.avsc")) if path.is_dir() else [path]:
            named = _ID.fullmatch(file.stem)
            if named is None and file != path:
                continue  # a part of another one
            number = 0 if named is None else int(named["id"] or 100 * int(named["major"]) + int(named["minor"]))
            if number in self._files:
                raise ConfigError(f"two schemas have the id {number}: {self._files[number]} and {file}")
            self._files[number] = file
        if not self._files:
            raise ConfigError(f"no schemas in {path}: it takes <id>.avsc, or <survey>.v<major>_<minor>.alert.avsc")

    def by_id(self, schema_id: int) -> str | None:
        """See `SchemaSource`."""
        file = self._files.get(schema_id)
        return None if file is None else _self_contained(str(file), None, str(file))

    def known(self) -> dict[int, str]:
        """See `SchemaSource`."""
        return {number: _self_contained(str(file), None, str(file)) for number, file in sorted(self._files.items())}


class _Parts(AbstractSchemaRepository):
    """Schemas by name, for fastavro."""

    def __init__(self, texts: dict[str, str]) -> None:
        self._texts = texts

    def load(self, name: str) -> Any:
        try:
            return json.loads(self._texts[name])
        except (KeyError, ValueError) as error:
            raise SchemaRepositoryError(name) from error


def _self_contained(name: str, parts: AbstractSchemaRepository | None, where: str) -> str:
    """A schema with each named type that it refers to written out at its first use.

    Parameters
    ----------
    name : str
        Name in `parts`, or path of a file whose parts lie beside it.
    parts : AbstractSchemaRepository, optional
        Where the parts are.
    where : str
        For the message.
    """
    try:
        schema = load_schema(name, repo=parts)
    except UnknownType as error:
        raise ConfigError(f"the schema {where} refers to {error.name}, which is not there") from error
    except (SchemaRepositoryError, SchemaParseException, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{where} is not an Avro schema: {error}") from error
    if isinstance(schema, dict):
        schema = {key: value for key, value in schema.items() if not key.startswith("__")}  # fastavro's own marks
    return compact(schema)
