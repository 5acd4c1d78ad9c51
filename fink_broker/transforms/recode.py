"""The slow way into the broker: any Avro container, read by fastavro and written again in the reader schema."""

from __future__ import annotations

import functools
import io
import itertools
import json
from typing import Any

import fastavro


@functools.lru_cache(maxsize=4)
def _parsed(schema: str) -> Any:
    return fastavro.parse_schema(json.loads(schema))


def recode(value: bytes | None, reader: str) -> tuple[bytes | None, str | None]:
    """Body of the one record of a container in the reader schema, or the reason why there is none.

    Parameters
    ----------
    value : bytes or None
        A message.
    reader : str
        Reader schema, JSON.

    Returns
    -------
    tuple of (bytes or None, str or None)
        Body and reason: one of them is None; both for no message.
    """
    if value is None:
        return None, None
    try:
        records = list(itertools.islice(fastavro.reader(io.BytesIO(value)), 2))
        if len(records) != 1:
            return None, "a container of several records" if records else "a container without a record"
        record: Any = records[0]
        fields = [field["name"] for field in _parsed(reader)["fields"]]
        if not any(name in record for name in fields):
            return None, f"not an alert: it has none of the fields {', '.join(fields)}"[:200]
        body = io.BytesIO()
        fastavro.schemaless_writer(body, _parsed(reader), record)
    # Hostile bytes make fastavro raise nearly anything; whatever it is, it is the reason that is kept with the message.
    except Exception as error:  # noqa: BLE001
        detail = " ".join(str(error).split())[:200]
        return None, f"does not decode: {type(error).__name__}: {detail}" if detail else f"does not decode: {type(error).__name__}"
    return body.getvalue(), None
