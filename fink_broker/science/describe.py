"""What a module's function says of itself: its arguments and what it returns, without the broker's process importing it.

A plug-in environment has packages that the broker's own does not: there this file runs as a program, reads references as JSON, and
answers with a description of each. Answers are kept, until the environment or the file changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import inspect
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fink_broker.errors import ConfigError
from fink_broker.files import write_whole
from fink_broker.plugins import Reference

# PySpark's code of a UDF that takes one row (`udf`), whose function is called with values and not with Series.
_BY_ROW = 100
SECONDS = 300


@dataclass(frozen=True)
class Description:
    """What is known of a function.

    Parameters
    ----------
    arguments : list of str
        Names of the arguments.
    required : int
        How many of them have no default.
    outputs : dict
        What `outputs` declares.
    type : str
        Spark SQL type of a PySpark UDF's result; empty for a plain function.
    parts : dict
        Types of the fields of that type if it is a struct; of a map, its values' under ``*``.
    by_row : bool
        Whether it is a UDF of one row.
    catalogues : list of str
        Catalogues that it needs, see `catalogue`.
    version : str
        Version of its package.
    fault : str
        Why it cannot be used; empty if it can.
    """

    arguments: list[str] = field(default_factory=list)
    required: int = 0
    outputs: dict[str, str] = field(default_factory=dict)
    type: str = ""
    parts: dict[str, str] = field(default_factory=dict)
    by_row: bool = False
    catalogues: list[str] = field(default_factory=list)
    version: str = ""
    fault: str = ""


def describe(reference: Reference) -> Description:
    """Describe a function of this process's environment."""
    try:
        function = reference.load()
        parameters = inspect.signature(function).parameters.values()
    except (ConfigError, ValueError, TypeError) as error:
        return Description(fault=str(error))
    kind: Any = getattr(function, "returnType", None)
    return Description(
        arguments=[one.name for one in parameters],
        required=sum(one.default is one.empty for one in parameters),
        outputs=getattr(function, "fink_outputs", {}),
        type="" if kind is None else kind.simpleString(),
        parts={one.name: one.dataType.simpleString() for one in getattr(kind, "fields", ())}
        | ({"*": kind.valueType.simpleString()} if hasattr(kind, "valueType") else {}),
        by_row=getattr(function, "evalType", None) == _BY_ROW,
        catalogues=getattr(function, "fink_catalogues", []),
        version=_version(reference.source),
    )


def _version(source: str) -> str:
    if source.endswith(".py"):
        return ""
    try:
        return importlib.metadata.version(source.partition(".")[0].replace("_", "-"))
    except importlib.metadata.PackageNotFoundError:
        return ""


def describe_in(
    python: Path, references: Sequence[Reference], environ: Mapping[str, str], kept: Path, seconds: float = SECONDS
) -> list[Description]:
    """Describe functions of another environment.

    Parameters
    ----------
    python : Path
        Its interpreter.
    references : sequence of Reference
        Functions.
    environ : mapping
        Environment variables that Spark's Python workers have there.
    kept : Path
        Folder where answers are kept.
    seconds : float
        How long importing them may take.

    Raises
    ------
    ConfigError
        The interpreter does not run.
    """
    answers = [_answer(python, one, kept) for one in references]
    missing = {answer: asdict(one) for answer, one in zip(answers, references, strict=True) if not answer.exists()}
    if missing:
        command, question = [str(python), "-P", "-m", __name__], json.dumps(list(missing.values()))
        try:
            ran = subprocess.run(command, input=question, env=dict(environ), capture_output=True, text=True, timeout=seconds, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            said = str(getattr(error, "stderr", None) or error).strip().splitlines()
            raise ConfigError(f"{python} does not run: {said[-1] if said else error}") from error
        if not ran.stdout:
            raise ConfigError(f"{next(iter(missing.values()))['source']} ends the process that imports it")
        for answer, found in zip(missing, json.loads(ran.stdout.splitlines()[-1]), strict=True):
            write_whole(answer, json.dumps(found))
    return [Description(**json.loads(answer.read_text(encoding="utf-8"))) for answer in answers]


def _answer(python: Path, one: Reference, kept: Path) -> Path:
    """Where the answer for a function is kept, by the state of all that it depends on."""
    sources = [Path(__file__), python, *python.parent.parent.glob("lib/python*/site-packages")]
    sources += [Path(one.source)] if one.source.endswith(".py") else []
    state = [(str(file), file.stat().st_mtime_ns) for file in sources if file.exists()]
    return kept / f"{hashlib.sha256(f'{json.dumps(asdict(one))}{state}'.encode()).hexdigest()[:24]}.json"


def main() -> None:
    """Answer what is asked on the standard input."""
    # Whatever the modules print while they are imported is not part of the answer.
    with contextlib.redirect_stdout(sys.stderr):
        found = [asdict(describe(Reference(**one))) for one in json.load(sys.stdin)]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
