"""Packets on the wire."""

import io

import fastavro
import pytest

from datasim import garbage
from datasim.night import alerts
from datasim.packet import container, writer_schema
from fink_broker.connectors.avro import SYNC_LENGTH, header, long, minified
from fink_broker.errors import ConfigError
from fink_broker.surveys.ztf import SURVEY


def read(message: bytes) -> list[dict]:
    return list(fastavro.reader(io.BytesIO(message)))


@pytest.mark.parametrize("version", ["3.3", "4.02"])
def test_templates_survive_the_wire(templates, version):
    schema = writer_schema(version)
    for template in templates:
        (alert,) = read(container(template, schema))
        assert alert.pop("fp_hists", None) is None
        assert alert == template


@pytest.mark.parametrize("version", ["3.2", "3.3", "4.01", "4.02"])
def test_the_header_is_known_from_the_schema_file(templates, version):
    text = minified(SURVEY.schemas / f"{version}.avsc")
    message = container(templates[0], writer_schema(version))
    assert message.startswith(header(text))
    reader = fastavro.reader(io.BytesIO(message))
    assert reader.metadata == {"avro.codec": "null", "avro.schema": text}
    # One block of one record between two equal markers, as ZTF's packets are.
    sync = message[len(header(text)) :][:SYNC_LENGTH]
    assert message.endswith(sync)
    assert message.count(sync) == 2


def test_header_is_what_fastavro_writes(templates):
    schema = {"type": "record", "name": "x", "fields": [{"name": "y", "type": "int"}]}
    out = io.BytesIO()
    fastavro.writer(out, schema, [{"y": 1}], codec="deflate", sync_marker=b"s" * SYNC_LENGTH)
    text = fastavro.reader(io.BytesIO(out.getvalue())).metadata["avro.schema"]
    assert out.getvalue().startswith(header(text, codec="deflate") + b"s" * SYNC_LENGTH)


@pytest.mark.parametrize("value", [0, 1, -1, 63, 64, -64, -65, 300, 2**40, 2**63 - 1, -(2**63)])
def test_long_is_avro_long(value):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, "long", value)
    assert long(value) == out.getvalue()


def test_sync_markers_differ(templates):
    schema = writer_schema("4.02")
    assert container(templates[0], schema) != container(templates[0], schema)


def test_unknown_version_names_the_known_ones():
    with pytest.raises(ConfigError, match=r"unknown schema version '9\.9'.*3\.2, 3\.3, 4\.01, 4\.02"):
        writer_schema("9.9")


@pytest.mark.parametrize("version", ["3.3", "4.02"])
def test_garbage_is_garbage(templates, version):
    schema = writer_schema(version)
    (good,) = alerts(templates, 1, "20260322", schema_version=version)
    kinds = garbage.every_kind(good, schema)
    for name in ("corrupt", "truncated", "empty", "not Avro", "absurd count", "not UTF-8"):
        with pytest.raises((ValueError, EOFError, IndexError)):
            read(kinds[name])
    assert read(kinds["wrong schema"]) == [{"wind": 12.5, "rain": "none"}]
    (large,) = read(kinds["oversized"])
    assert len(kinds["oversized"]) > 20_000_000
    assert large["candid"] == good["candid"]
    assert read(kinds["out of range"])[0]["candidate"]["jd"] == 1e300
    # These are recognised as alerts of this schema: only their bodies are bad.
    for name in ("corrupt", "absurd count", "not UTF-8", "out of range", "oversized"):
        assert kinds[name].startswith(schema.header)


def test_absurd_count_claims_what_it_says(templates):
    schema = writer_schema("4.02")
    message = garbage.absurd_count(templates[0], schema)
    assert long(1) + long(2**40) in message
    assert len(message) < 20_000
