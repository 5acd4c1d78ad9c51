"""What a broker knows of schemas, for tests."""

from __future__ import annotations

from collections.abc import Iterable

from datasim.packet import writer_schema
from fink_broker.connectors import avro
from fink_broker.services.known import Known, Learned
from fink_broker.surveys import get
from fink_broker.transforms.framing import Codec

VERSIONS = ("3.2", "3.3", "4.01", "4.02")


def ztf(versions: Iterable[str] = VERSIONS) -> Known:
    """A broker that has met alerts of these versions."""
    schemas = map(writer_schema, versions)
    return Known(get("ztf"), [Learned(prefix=schema.header, schema_text=schema.text) for schema in schemas])


def codec(*versions: str, slow: bool = False, max_bytes: int = 16_000_000) -> Codec:
    """Codec of such a broker; of all versions if none is named."""
    return ztf(versions or VERSIONS).codec(max_bytes, slow=slow)


def having_met(values: Iterable[bytes]) -> Known:
    """A broker that has met these containers."""
    knows = ztf()
    for value in values:
        header = avro.read_header(value)
        if not knows.has(header.prefix):
            knows = knows.plus(Learned(prefix=header.prefix, schema_text=header.schema))
    return knows
