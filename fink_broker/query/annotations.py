"""What people and follow-up say of an alert: family ``a`` of the main table, which the archive never touches."""

import json
import re
import time
from datetime import UTC, datetime

import pyarrow as pa

from fink_broker.connectors.hbase import ANNOTATIONS
from fink_broker.connectors.hbase_read import Stretch
from fink_broker.errors import UsageError
from fink_broker.query.named import alert
from fink_broker.query.tables import Tables

FIELDS = ("value", "who", "when", "source")


def annotate(tables: Tables, name: str, kind: str, value: str, *, who: str, source: str = "", alert_id: int | None = None) -> None:
    """Say something of an alert, in place of what was said of that kind before.

    Parameters
    ----------
    tables : Tables
        Where it is written.
    name : str
        The object.
    kind : str
        What is said: ``classification``, ``comment``, ``redshift`` ...; its column is ``a:<kind>``.
    value, who, source : str
        What it is, who says so, and out of what: a spectrum, a paper, an address.
    alert_id : int, optional
        Of which alert; of the object's last without.

    Raises
    ------
    UsageError
        There is no such object or alert, or the kind is no name.
    """
    if not re.fullmatch("[a-z][a-z0-9_]*", kind):
        raise UsageError(f"'{kind}' is no kind of annotation: small letters, digits and _, such as classification")
    if not (value and who):
        raise UsageError("an annotation says something, and who says so")
    row = alert(tables, name, alert_id)
    said = dict(zip(FIELDS, (value, who, datetime.now(UTC).isoformat(timespec="seconds"), source), strict=True))
    cells = {f"{ANNOTATIONS}:{kind}": json.dumps(said, ensure_ascii=False)}
    tables.reader.put(tables.lookup("object").table, row["rowkey"].encode(), cells, time.time_ns() // 1_000_000)


def annotations(tables: Tables, name: str) -> pa.Table:
    """What was said of an object: a row an annotation, by alert and kind.

    Returns
    -------
    pyarrow.Table
        The alert's id and time, `kind`, `value`, `who`, `when` (ISO 8601, UTC) and `source`.
    """
    lookup, known = tables.lookup("object"), tables.lookups
    columns = [known.alert, known.time, ANNOTATIONS]
    rows = tables.stretches(lookup.table, [Stretch.times(lookup.begin(name))], columns).to_pylist()
    found = []
    for row in rows:
        about = {column: row[column] for column in (known.alert, known.time)}
        for column in sorted(row):
            family, _, kind = column.partition(":")
            if family == ANNOTATIONS and row[column] is not None:
                said = json.loads(row[column])
                found.append(about | {"kind": kind} | {field: said.get(field) for field in FIELDS})
    return pa.Table.from_pylist(found)
