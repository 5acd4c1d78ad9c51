"""fink science test: one module on real alerts, as the service runs it; what it gives and what it costs."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from datasim import TEMPLATES
from fink_broker import surveys
from fink_broker.config import Settings
from fink_broker.config.own import ScienceModule
from fink_broker.connectors import avro
from fink_broker.errors import UsageError
from fink_broker.science import registry
from fink_broker.science.module import Module
from fink_broker.services import stream2raw
from fink_broker.services.known import Known, Learned
from fink_broker.session import session
from fink_broker.surveys import Survey
from fink_broker.transforms.science import with_science
from fink_broker.transforms.workers import Workers

_AVRO = b"Obj\x01"  # how an Avro container begins (Avro specification, "Object Container Files")


@dataclass(frozen=True)
class Trial:
    """What a module gave for real alerts.

    Parameters
    ----------
    alerts : int
        How many it was tried on.
    outputs : dict
        Column to its type, missing values, and an example.
    errors : dict
        What it raised, to how often.
    cpu_ms : float
        CPU milliseconds an alert, without what it loads once.
    load_ms : float
        CPU milliseconds of the first batch beyond that.
    memory_mb : int
        Peak memory of the worker.
    """

    alerts: int
    outputs: dict[str, dict[str, Any]]
    errors: dict[str, int]
    cpu_ms: float
    load_ms: float
    memory_mb: int


def main(settings: Settings, name: str, data: Path | None, count: int | None, *, as_json: bool) -> int:
    """Try a module and print what came out; exit code 1 if it raised."""
    survey = surveys.get(settings.survey)
    modules = chosen(settings, survey, name)
    spark = session(settings.model_copy(update={"spark": settings.spark.model_copy(update={"master": "local[1]"})}), "science-test")
    try:
        found = attempt(read(spark, data or TEMPLATES, survey), modules, survey, settings, count)
    finally:
        spark.stop()
    if as_json:
        print(json.dumps({"ok": not found.errors, **asdict(found)}))
    else:
        print(table(modules[-1].name, found))
    return 1 if found.errors else 0


def chosen(settings: Settings, survey: Survey, name: str) -> list[Module]:
    """The module by its name or file, after those whose columns it takes."""
    source = name.partition(":")[0]
    if source.endswith(".py"):
        path = str(Path(source).resolve())
        entry = ScienceModule(name=name.partition(":")[2] or Path(source).stem, function=name.replace(source, path))
        return registry.resolve(settings, [entry])
    entries = registry.known(settings, survey)
    if name not in entries:
        raise UsageError(f"no module '{name}': fink science list shows them; a file ends in .py")
    # What it takes comes from modules of its own kind: those of fink-science from fink-science.
    kin = [
        one
        for one in entries.values()
        if one.name != name and one.name.startswith(registry.COMMUNITY) == name.startswith(registry.COMMUNITY)
    ]
    usable = [one for one, found in zip(kin, registry.descriptions(settings, kin), strict=True) if not found.fault]
    [module], others = registry.resolve(settings, [entries[name]]), registry.resolve(settings, usable)
    wanted, open_ = [module], [*module.inputs]
    while open_:
        column = open_.pop()
        for maker in others:
            if column in maker.outputs and maker not in wanted:
                wanted.append(maker)
                open_ += maker.inputs
    return registry.ordered(wanted)


def read(spark: SparkSession, data: Path, survey: Survey) -> DataFrame:
    """Alerts of Parquet files of the same columns, or of Avro packets, in a file or folder.

    Raises
    ------
    UsageError
        The files are not of one kind, or cannot be read.
    """
    files = sorted(data.rglob("*")) if data.is_dir() else [data]
    packets = [content for file in files if file.is_file() and (content := file.read_bytes()).startswith(_AVRO)]
    if not packets:
        tables = [file for file in files if file.suffix == ".parquet" or file == data]
        try:
            kinds = {pq.read_schema(file).to_string(show_schema_metadata=False) for file in tables}
        except (OSError, pa.ArrowInvalid) as error:
            raise UsageError(f"{data} cannot be read as Parquet or Avro packets: {' '.join(str(error).split())[:200]}") from error
        if len(kinds) != 1:
            raise UsageError(f"{data} holds {'files of different columns: name one of them' if kinds else 'no alerts'}")
        return spark.read.parquet(str(data))
    messages = spark.createDataFrame(list(enumerate(packets)), "offset long, value binary").selectExpr(
        "value", "'file' as topic", "0 as partition", "offset", "now() as kafkaTimestamp"
    )
    knows = Known(survey, form="container")
    for header in map(avro.read_header, packets):
        if not knows.has(header.prefix):
            knows = Known(survey, [*knows.learned, Learned(prefix=header.prefix, schema_text=header.schema)], "container")
    decoded = stream2raw.build(messages, survey, knows.codec(max(map(len, packets))))
    return decoded.where(f"status = '{stream2raw.OK}'")


def attempt(alerts: DataFrame, modules: list[Module], survey: Survey, settings: Settings, count: int | None) -> Trial:
    """Run the last of the modules, after those that it needs, on alerts, twice over."""
    module = modules[-1]
    some = (alerts.limit(count) if count else alerts).coalesce(1).cache()
    workers = Workers(settings.root / "tmp" / "science-test", settings.science_section.worker_memory_mb)
    columns = [name for name in module.outputs if not name.startswith("_")]
    made = with_science(some, modules, survey, workers).select("science_errors", "science_cost", *columns)
    costs = []
    for _ in range(2):
        rows = made.collect()
        costs.append([json.loads(row.science_cost) for row in rows if row.science_cost])
    own = [sum(cost["modules"][module.name][0] for cost in batches) for batches in costs]
    errors: dict[str, int] = {}
    for row in rows:
        for text in row.science_errors or ():
            if text.startswith(f"{module.name}: "):
                errors[text] = errors.get(text, 0) + 1
    outputs = {}
    for name in columns:
        values = [row[name] for row in rows]
        there = [value for value in values if value is not None and not (isinstance(value, float) and math.isnan(value))]
        outputs[name] = {
            "type": module.outputs[name],
            "missing": len(values) - len(there),
            "example": str(there[0])[:60] if there else None,
        }
    total = max(len(rows), 1)
    memory = max((cost["memory_mb"] for cost in costs[-1]), default=0)
    return Trial(len(rows), outputs, errors, round(own[1] / total, 3), round(max(own[0] - own[1], 0.0), 1), memory)


def table(name: str, found: Trial) -> str:
    """The trial for a person."""
    lines = [f"{name} on {found.alerts} alerts"]
    lines += [f"  {column}: {one['type']}, {one['missing']} missing, such as {one['example']}" for column, one in found.outputs.items()]
    lines.append(f"  {found.cpu_ms:g} CPU ms an alert, {found.load_ms:g} once; worker's peak memory {found.memory_mb} MB")
    lines += [f"  raised for {number}: {text}" for text, number in found.errors.items()]
    return "\n".join(lines)
