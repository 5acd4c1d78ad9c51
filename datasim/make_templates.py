"""Make the alert templates and the catalogue that come with the broker, from a wheel of fink-science.

    python -m datasim.make_templates [--wheel FILE]             templates.parquet and gcvs.parquet of the checkout
    python -m datasim.make_templates --avro PATH --out FILE     templates from packets: a folder or .tar.gz of .avro files
    python -m datasim.make_templates --avro PATH --out FILE --limit N

Templates made with ``--avro`` are used by setting ``simulator.templates`` in the configuration to FILE.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tarfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq

from datasim import TEMPLATES
from fink_broker.config import CHECKOUT
from fink_broker.errors import FinkError, UsageError
from fink_broker.infra import wheels

WHEEL = "fink-science==3.13.3"
WHEEL_SHA256 = "721422bd5dce6f7e746b559b2437c321e5cb9f2c60f33c1cc8323cc42f40b37b"
ALERTS = "fink_science/data/alerts/alerts.parquet"
CATALOGUE = "fink_science/data/catalogs/gcvs.parquet"
GCVS = CHECKOUT / "fink_broker" / "catalogues" / "shipped" / "gcvs.parquet"

# The last column of the wheel's alerts was added by the broker that kept them; ZTF does not send it.
NOT_FROM_ZTF = "timestamp"


def templates_of(data: bytes) -> pa.Table:
    """The alerts as ZTF sent them: every column of the wheel's file with its type, nulls and values, less `NOT_FROM_ZTF`."""
    table = pq.read_table(io.BytesIO(data))
    return table.drop_columns([NOT_FROM_ZTF]).replace_schema_metadata(None)


def write(table: pa.Table, path: Path) -> None:
    """Write a Parquet file whole or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        pq.write_table(table, temporary, compression="zstd", compression_level=19, use_dictionary=True)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def packets(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of the ``.avro`` files in a folder or a tar file, in order of name (folder) or of the archive (tar)."""
    if path.is_dir():
        for file in sorted(path.rglob("*.avro")):
            yield file.name, file.read_bytes()
        return
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                handle: IO[bytes] | None = tar.extractfile(member) if member.name.endswith(".avro") else None
                if handle is not None:
                    yield member.name, handle.read()
    except (OSError, tarfile.TarError) as error:
        raise FinkError(f"cannot read {path}: give a folder of .avro files or a .tar.gz of the public archive") from error


def arrow_type(schema: Any) -> tuple[Any, bool]:
    """Arrow type and nullability of a (parsed and expanded) Avro type, widths kept."""
    if isinstance(schema, list):
        kind, _ = arrow_type(next(branch for branch in schema if branch != "null"))
        return kind, "null" in schema
    if isinstance(schema, dict) and schema["type"] == "record":
        return pa.struct([pa.field(field["name"], *arrow_type(field["type"])) for field in schema["fields"]]), False
    if isinstance(schema, dict) and schema["type"] == "array":
        return pa.list_(pa.field("element", *arrow_type(schema["items"]))), False
    simple = {
        "string": pa.string(),
        "bytes": pa.binary(),
        "int": pa.int32(),
        "long": pa.int64(),
        "float": pa.float32(),
        "double": pa.float64(),
    }
    return simple[schema["type"] if isinstance(schema, dict) else schema], False


def table_of_packets(path: Path, limit: int) -> pa.Table:
    """The first `limit` alerts of a folder or tar of packets, which must share one schema version.

    Raises
    ------
    FinkError
        There is no packet, or one does not decode or has another schema.
    """
    records: list[Any] = []
    schema: pa.Schema | None = None
    for name, data in islice(packets(path), limit):
        try:
            reader = fastavro.reader(io.BytesIO(data))
            record, _ = arrow_type(fastavro.schema.expand_schema(reader.writer_schema))
            found = pa.schema(record.fields)
            schema = schema or found
            if found != schema:
                raise ValueError("its schema differs from that of the first packet")
            records.extend(reader)
        except (ValueError, EOFError, KeyError, AttributeError) as error:
            raise FinkError(f"cannot use {name} as a template: {error}") from error
    if schema is None:
        raise FinkError(f"no .avro file in {path}")
    return pa.Table.from_pylist(records, schema=schema)


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m datasim.make_templates", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--wheel", type=Path, help="wheel of fink-science; default: downloaded by pip")
    parser.add_argument("--avro", type=Path, help="folder or .tar.gz of .avro packets")
    parser.add_argument("--out", type=Path, help="Parquet file for the templates of --avro")
    parser.add_argument("--limit", type=int, default=500, help="how many packets of --avro to keep (default %(default)s)")
    options = parser.parse_args(arguments)
    try:
        if options.avro:
            if not options.out:
                raise UsageError("--avro needs --out FILE")
            _report(options.out, table_of_packets(options.avro, options.limit))
            return 0
        with wheels.opened(WHEEL, WHEEL_SHA256, options.wheel) as wheel:
            _report(options.out or TEMPLATES, templates_of(wheel.read(ALERTS)))
            if not options.out:
                _report(GCVS, pq.read_table(io.BytesIO(wheel.read(CATALOGUE))).replace_schema_metadata(None))
    except FinkError as error:
        print(f"make_templates: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _report(path: Path, table: pa.Table) -> None:
    write(table, path)
    print(f"{path}: {table.num_rows} rows, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    sys.exit(main())
