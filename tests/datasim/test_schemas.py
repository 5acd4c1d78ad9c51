"""The writer schemas against their source, and against those in real packets."""

import io
import json
import math
from typing import Any

import fastavro
import numpy as np
import pyarrow.parquet as pq
import pytest

from datasim import TEMPLATES
from datasim.make_schemas import FP_HIST, VERSIONS
from fink_broker.surveys.ztf import SURVEY

NUMBERS = [version.number for version in VERSIONS]


def read(version: str) -> dict[str, Any]:
    return json.loads((SURVEY.schemas / f"{version}.avsc").read_text())


def without_docs(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: without_docs(value) for key, value in schema.items() if key != "doc"}
    return [without_docs(part) for part in schema] if isinstance(schema, list) else schema


def flat(schema: Any, path: str = "") -> list[tuple[str, str, str, Any]]:
    """(path, type, nullability, default) of every field, in order; named types by full name."""
    found = []
    for field in schema["fields"]:
        kind, name = field["type"], f"{path}{field['name']}"
        union = isinstance(kind, list)
        null_first = union and kind[0] == "null"
        if union:
            assert len(kind) == 2
            kind = kind[1] if null_first else kind[0]
        inner = kind["items"] if isinstance(kind, dict) and kind["type"] == "array" else kind
        label = f"{inner.get('namespace')}.{inner['name']}" if isinstance(inner, dict) else inner
        found.append(
            (name, label, "null first" if null_first else "null last" if union else "never null", field.get("default", "no default"))
        )
        if isinstance(inner, dict):
            found += flat(inner, f"{name}.")
    return found


@pytest.mark.parametrize("version", VERSIONS, ids=NUMBERS)
def test_the_files_are_what_the_script_makes(version):
    assert read(version.number) == version.schema(pq.read_schema(TEMPLATES))


@pytest.mark.parametrize("version", NUMBERS)
def test_every_version_is_that_of_real_packets(version, shared):
    """Names, order, types, nullability, defaults and versions: all but the documentation."""
    real = json.loads((shared / "schemas" / "ztf" / f"{version}.avsc").read_text())
    assert flat(read(version)) == flat(real)
    assert read(version) == without_docs(real)


@pytest.mark.parametrize(("version", "folder"), [("3.2", "ztf_3.2_31"), ("3.3", "ztf_3.3"), ("4.01", "ztf_4.01"), ("4.02", "ztf_4.02")])
def test_real_bodies_decode_with_our_schema_as_with_their_own(version, folder, shared):
    ours = fastavro.parse_schema(read(version))
    for path in sorted((shared / folder).iterdir())[:5]:
        with path.open("rb") as file:
            block = next(fastavro.block_reader(file))
            data = block.bytes_.getvalue()
            (real,) = list(block)
        with_ours = fastavro.schemaless_reader(io.BytesIO(data), ours, None)
        assert same(with_ours, real)


def same(left: Any, right: Any) -> bool:
    """Equal, NaN being equal to itself."""
    if isinstance(left, float) and isinstance(right, float):
        return left == right or (math.isnan(left) and math.isnan(right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def test_what_changed_between_the_versions():
    names = {version: {path for path, *_ in flat(read(version))} for version in NUMBERS}
    assert names["3.3"] - names["3.2"] == {
        "candidate.drb",
        "candidate.drbversion",
        *(f"prv_candidates.{name}" for name in ("magzpsci", "magzpsciunc", "magzpscirms", "clrcoeff", "clrcounc")),
    }
    assert names["4.01"] - names["3.3"] == {"fp_hists", *(f"fp_hists.{name}" for name in FP_HIST)}
    assert names["4.01"] == names["4.02"]
    assert {a for a, b in zip(flat(read("4.01")), flat(read("4.02")), strict=True) if a != b} == {
        ("candidate.tooflag", "int", "null first", 0)
    }


def test_templates_keep_types_and_nulls():
    table = pq.read_table(TEMPLATES)
    candidate = table.schema.field("candidate").type
    assert "timestamp" not in table.column_names
    assert (str(candidate.field("magpsf").type), str(candidate.field("jd").type)) == ("float", "double")
    assert (str(candidate.field("fid").type), str(candidate.field("candid").type)) == ("int32", "int64")
    assert table.num_rows == 51
    rows = table.to_pylist()
    assert all(image["candid"] is None for image in rows[0]["prv_candidates"])
    assert all(row["candidate"]["magpsf"] == float(np.float32(row["candidate"]["magpsf"])) for row in rows)
