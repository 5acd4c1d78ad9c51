"""Make ZTF's writer schemas (``fink_broker/surveys/ztf/schemas/<version>.avsc``) from the types of the real alerts.

    python -m datasim.make_schemas

The templates are alerts of schema 3.3: names, order, types and nulls of the columns are read from them. What Parquet
does not hold, and what the other versions changed, is written down here as facts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datasim import TEMPLATES
from fink_broker.surveys.ztf import SURVEY

# Columns that ZTF always fills, though Spark, which wrote the templates, marks every top-level column as nullable.
ALWAYS = {"schemavsn", "publisher", "objectId", "candid", "candidate"}
# Nullable fields of prv_candidates without a default: a prior image without a detection has null here.
NO_DEFAULT = {"candid", "isdiffpos", "ra", "dec", "magpsf", "sigmapsf", "ranr", "decnr"}
# Fields that version 3.3 added to 3.2.
NEW_IN_33 = {
    "candidate": {"drb", "drbversion"},
    "prv_candidate": {"magzpsci", "magzpsciunc", "magzpscirms", "clrcoeff", "clrcounc"},
}
# Forced photometry at the place of the alert in earlier images, new in 4.01: Avro types, nullable with "?".
FP_HIST = {
    "field": "int?",
    "rcid": "int?",
    "fid": "int",
    "pid": "long",
    "rfid": "long",
    "sciinpseeing": "float?",
    "scibckgnd": "float?",
    "scisigpix": "float?",
    "magzpsci": "float?",
    "magzpsciunc": "float?",
    "magzpscirms": "float?",
    "clrcoeff": "float?",
    "clrcounc": "float?",
    "exptime": "float?",
    "adpctdif1": "float?",
    "adpctdif2": "float?",
    "diffmaglim": "float?",
    "programid": "int",
    "jd": "double",
    "forcediffimflux": "float?",
    "forcediffimfluxunc": "float?",
    "procstatus": "string?",
    "distnr": "float?",
    "ranr": "double",
    "decnr": "double",
    "magnr": "float?",
    "sigmagnr": "float?",
    "chinr": "float?",
    "sharpnr": "float?",
}
RECORDS = {"candidate": "candidate", "prv_candidates": "prv_candidate", "cutoutScience": "cutout"}
PRIMITIVES = {
    pa.string(): "string",
    pa.binary(): "bytes",
    pa.int32(): "int",
    pa.int64(): "long",
    pa.float32(): "float",
    pa.float64(): "double",
}

Json = dict[str, Any]


class Version:
    """One schema version: how its records are named and which side of a union null is on.

    Parameters
    ----------
    number : str
        As in the alert's ``schemavsn``.
    attribute : str, optional
        The ``version`` attribute inside the schema where it differs (3.2 says 3.1).
    """

    def __init__(self, number: str, attribute: str | None = None) -> None:
        self.number = number
        self.attribute = attribute or number
        self.null_first = number.startswith("4")

    def schema(self, columns: pa.Schema) -> Json:
        """The writer schema of this version, made from the columns of the 3.3 templates."""
        fields = [self._column(column) for column in columns]
        if self.null_first:
            kinds = [(name, kind.removesuffix("?"), kind.endswith("?")) for name, kind in FP_HIST.items()]
            hist = self._record("fp_hist", [self._field("fp_hist", *parts) for parts in kinds])
            fields.insert(6, self._field("alert", "fp_hists", {"type": "array", "items": hist}, True))
            return {"type": "record", "name": "ztf.alert", "version": self.attribute, "fields": fields}
        return {"type": "record", "name": "alert", "namespace": "ztf", "version": self.attribute, "fields": fields}

    def _column(self, column: pa.Field[Any]) -> Json:
        kind: Any
        if column.name.startswith("cutout") and column.name not in RECORDS:
            kind = "ztf.alert.cutout"
        elif pa.types.is_struct(column.type):
            kind = self._struct(RECORDS[column.name], column.type)
        elif pa.types.is_list(column.type):
            kind = {"type": "array", "items": self._struct(RECORDS[column.name], column.type.value_type)}
        else:
            kind = PRIMITIVES[column.type]
        return self._field("alert", column.name, kind, column.name not in ALWAYS)

    def _struct(self, name: str, kind: pa.StructType) -> Json:
        dropped = NEW_IN_33.get(name, set()) if self.number == "3.2" else set()
        parts: Iterable[pa.Field[Any]] = (kind.field(i) for i in range(kind.num_fields))
        return self._record(name, [self._field(name, f.name, PRIMITIVES[f.type], f.nullable) for f in parts if f.name not in dropped])

    def _record(self, name: str, fields: list[Json]) -> Json:
        return {"type": "record", "name": name, "namespace": "ztf.alert", "version": self.attribute, "fields": fields}

    def _field(self, record: str, name: str, kind: Any, nullable: bool) -> Json:
        if not nullable:
            return {"name": name, "type": kind}
        union = {"name": name, "type": ["null", kind] if self.null_first else [kind, "null"]}
        if record == "prv_candidate" and name in NO_DEFAULT:
            return union
        # Before 4.02 the default of tooflag is 0, which Avro forbids on [null, int] and ZTF sent all the same.
        return union | {"default": 0 if name == "tooflag" and self.number != "4.02" else None}


VERSIONS = (Version("3.2", "3.1"), Version("3.3"), Version("4.01"), Version("4.02"))


def main() -> None:
    """Write every version's schema."""
    columns = pq.read_schema(TEMPLATES)
    SURVEY.schemas.mkdir(exist_ok=True)
    for version in VERSIONS:
        path = SURVEY.schemas / f"{version.number}.avsc"
        path.write_text(json.dumps(version.schema(columns), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
