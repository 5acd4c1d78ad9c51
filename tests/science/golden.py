"""The modules of fink-science on alerts that Fink has published, through raw2science; prints what came out as JSON.

A program of its own, because its workers run on another environment: `python -m tests.science.golden HOME FILE NAME...`
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import fastavro

from datasim.packet import container, writer_schema
from fink_broker.config import Settings
from fink_broker.config.own import Science
from fink_broker.config.sections import Raw2science, Spark
from fink_broker.science.registry import active
from fink_broker.services import raw2science, stream2raw
from fink_broker.session import session
from fink_broker.surveys import get
from tests import known


def main(home: Path, file: Path, names: list[str]) -> None:
    """Run the modules and print id, outputs and errors of each alert that passes the cuts."""
    science = Science(environment="ztf", timeout_seconds=300)
    settings = Settings(home=home, spark=Spark(master="local[1]"), raw2science=Raw2science(modules=names), science=science)
    survey, schema = get("ztf"), writer_schema("4.02")
    fields = [field["name"] for field in json.loads(schema.text)["fields"]]
    with file.open("rb") as packets:
        values = [container({name: alert.get(name) for name in fields}, schema) for alert in fastavro.reader(packets)]  # type: ignore[union-attr]
    modules = active(settings, survey)
    spark = session(settings, "golden")
    messages = spark.createDataFrame(list(enumerate(values)), "offset long, value binary").selectExpr(
        "value", "'t' as topic", "0 as partition", "offset", "now() as kafkaTimestamp"
    )
    raw = stream2raw.build(messages.coalesce(1), survey, known.codec("4.02"))
    made = raw2science.build(raw, survey, modules, raw2science.science_version(modules), "2 days")
    columns = [name for module in modules for name in module.outputs if not name.startswith("_")]
    rows = made.select("candid", "science_errors", "fink_science_version", *columns).collect()
    print(json.dumps([row.asDict(recursive=True) for row in rows]))
    spark.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
