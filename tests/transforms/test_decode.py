"""What comes out of the decoder is what fastavro, another implementation, reads; all else is rejected with a reason."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any

import fastavro
import pytest
from pyspark.errors import SparkRuntimeException
from pyspark.sql import functions as F

from datasim import garbage
from datasim.packet import container, frame, writer_schema
from fink_broker.services import stream2raw
from fink_broker.transforms import framing
from fink_broker.transforms.decode import UNKNOWN_WRITER, decode
from tests import known
from tests.compare import differences
from tests.transforms.conftest import SURVEY, Decode

VERSIONS = known.VERSIONS
ADDED = {"number", "topic", "partition", "offset", "record", "reason", "value"}


def only(value: bytes) -> dict[str, Any]:
    [record] = fastavro.reader(io.BytesIO(value))
    return record


def alert_of(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ADDED}


def wrong(values: list[bytes], rows: list[dict[str, Any]]) -> list[str]:
    """Where sound alerts are not what fastavro reads."""
    found = []
    for value, row in zip(values, rows, strict=True):
        assert row["reason"] is None, row["reason"]
        assert row["value"] is None
        found += differences(only(value), alert_of(row))
    return found


def shared_fields(expected: Any, found: Any) -> Any:
    """What fastavro reads, without the fields that the reader schema does not have."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return {name: shared_fields(item, found[name]) for name, item in expected.items() if name in found}
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        return [shared_fields(*pair) for pair in zip(expected, found, strict=True)]
    return expected


def small(record: dict[str, Any]) -> dict[str, Any]:
    """The alert without its images, and with a short history."""
    stamps = {name: {"fileName": "stamp.fits.gz", "stampData": b"\x1f\x8b"} for name in SURVEY.cutouts}
    return record | stamps | {"prv_candidates": (record["prv_candidates"] or [])[:2]}


def every_version(templates: list[dict[str, Any]]) -> list[bytes]:
    """The templates in each version of the schema; what a version lacks is left out."""
    return [container(record | {"fp_hists": None}, writer_schema(version)) for version in VERSIONS for record in templates]


def with_forced_photometry(templates: list[dict[str, Any]]) -> list[bytes]:
    """Version 4 has an array more, of records with texts."""
    items = next(f for f in json.loads(writer_schema("4.02").text)["fields"] if f["name"] == "fp_hists")["type"][1]["items"]
    entry = {f["name"]: some(f["type"], number) for number, f in enumerate(items["fields"])}
    return [container(record | {"fp_hists": [entry, entry | {"jd": 2461121.5}]}, writer_schema("4.02")) for record in templates[:3]]


def some(kind: Any, number: int) -> Any:
    kind = next(branch for branch in kind if branch != "null") if isinstance(kind, list) else kind
    return {"string": f"text {number}", "int": number, "long": number, "double": number / 4, "float": number / 4}[kind]


def deflated(value: bytes) -> bytes:
    packed = io.BytesIO()
    reader = fastavro.reader(io.BytesIO(value))
    fastavro.writer(packed, reader.writer_schema, list(reader), codec="deflate")
    return packed.getvalue()


def changed(record: dict[str, Any], **values: Any) -> bytes:
    """An alert with other values, of the candidate where it has them."""
    candidate = {name: value for name, value in values.items() if name in record["candidate"]}
    top = {name: value for name, value in values.items() if name not in candidate or name == "candid"}
    return container(record | top | {"candidate": record["candidate"] | candidate}, writer_schema("4.02"))


def special(templates: list[dict[str, Any]]) -> dict[bytes, str | None]:
    """Containers of other forms, values out of range and broken texts, with what the reason begins with."""
    record = small(templates[0])
    schema = writer_schema("4.02")
    none = io.BytesIO()
    parsed = fastavro.parse_schema(json.loads(schema.text))
    fastavro.writer(none, parsed, [])
    sound = container(record, schema)
    long = "text-in-a-cutout"
    with_text = container(record | {"cutoutScience": {"fileName": long, "stampData": b"\x1f\x8b"}}, schema)
    versioned = container(record | {"schemavsn": "4.02+"}, schema)
    earlier = next(r for r in templates if r["prv_candidates"])["prv_candidates"][0] | {"pdiffimfilename": long}
    with_history = container(record | {"prv_candidates": [earlier]}, schema)
    return {
        sound: None,
        with_history: None,
        deflated(sound): None,
        none.getvalue(): "a container without a record",
        sound + sound: "does not decode: ",
        sound[:-1]: "does not decode: ",
        sound[:-1] + bytes([sound[-1] ^ 1]): "does not decode: ValueError",
        changed(record, jd=2455197.4): "candidate.jd is out of range",
        changed(record, jd=2488069.6): "candidate.jd is out of range",
        changed(record, jd=float("nan")): "candidate.jd is out of range",
        changed(record, ra=360.0): "candidate.ra is out of range",
        changed(record, ra=-1e-9): "candidate.ra is out of range",
        changed(record, dec=90.1): "candidate.dec is out of range",
        changed(record, magpsf=41.0): "candidate.magpsf is out of range",
        changed(record, sigmapsf=-0.5): "candidate.sigmapsf is out of range",
        changed(record, fid=4): "candidate.fid is not a filter of ZTF",
        container(record | {"cutoutTemplate": {"fileName": "x", "stampData": b"\x1f\x8c"}}, schema): "cutoutTemplate is not gzip",
        changed(record, candid=0): "candid is missing or not positive",
        changed(record, objectId="ZTF18abc"): "objectId is missing or not a ZTF name",
        changed(record, objectId="ZTF18abcdefg\n"): "objectId is missing or not a ZTF name",
        # 0xFF is in no UTF-8; 0xC0 0x80 is zero in a form that is too long; 0xED 0xA0 0x80 is half of a surrogate pair.
        with_text.replace(long.encode(), b"\xff" * len(long)): "text that is not UTF-8",
        with_history.replace(long.encode(), b"\xff" * len(long)): "text that is not UTF-8",
        versioned.replace(b"4.02+", b"4\xc0\x80.0"): "text that is not UTF-8",
        versioned.replace(b"4.02+", b"4\xed\xa0\x80."): "text that is not UTF-8",
        versioned.replace(b"4.02+", "4é.0".encode()): None,
    }


def mutants(templates: list[dict[str, Any]]) -> list[bytes]:
    """Random flips, cuts and insertions in a sound alert."""
    rng = random.Random(20260322)
    schema = writer_schema("4.02")
    sound = container(small(templates[3]), schema)
    return [mutant(sound, len(schema.header), rng) for _ in range(400)]


def mutant(value: bytes, start: int, rng: random.Random) -> bytes:
    changed = bytearray(value)
    kind = rng.choice(["flip", "flip", "flip", "byte", "cut", "insert", "header"])
    place = rng.randrange(start, len(value))
    if kind == "flip":
        changed[place] ^= 1 << rng.randrange(8)
    elif kind == "byte":
        changed[place] = rng.randrange(256)
    elif kind == "cut":
        del changed[place : place + rng.choice([1, 4, 10_000])]
    elif kind == "insert":
        changed[place:place] = rng.randbytes(3)
    else:
        changed[rng.randrange(start)] ^= 1 << rng.randrange(8)
    return bytes(changed)


@pytest.fixture(scope="module")
def slowly(templates: list[dict[str, Any]], decoded: Decode) -> dict[str, list[tuple[bytes, dict[str, Any]]]]:
    """Message and result, by group, of a plan with the slow way: one job, because the plan takes longer than the alerts."""
    schema = writer_schema("4.02")
    sound = [container(record | {"fp_hists": None}, schema) for record in templates[1:4]]
    groups = {
        "neighbours": sound[:1],
        "bad": list(garbage.every_kind(templates[0] | {"fp_hists": None}, schema).values()),
        "neighbours after": sound[1:],
        "special": list(special(templates)),
        "mutants": mutants(templates),
        "deflated": [deflated(value) for value in every_version(templates)[::8]],
    }
    rows = iter(decoded([value for group in groups.values() for value in group]))
    return {name: [(value, next(rows)) for value in group] for name, group in groups.items()}


def test_every_template_in_every_version_is_what_fastavro_reads(decoded, templates):
    values = every_version(templates) + with_forced_photometry(templates)
    assert len(values) == 4 * len(templates) + 3 > 200
    rows = decoded(values, slow=False)
    assert wrong(values, rows) == []
    assert [row["fp_hists"][1]["jd"] for row in rows[-3:]] == [2461121.5] * 3


def test_the_slow_way_gives_the_same(slowly, templates):
    """Under another codec no header is known, so that every alert takes the slow way."""
    expected = every_version(templates)[::8]
    assert wrong(expected, [row for _, row in slowly["deflated"]]) == []


def test_real_packets_of_all_versions(shared: Path, decoded):
    sets = ["ztf_3.2_31", "ztf_3.3", "ztf_4.01", "ztf_4.02"]
    native = [file.read_bytes() for name in sets for file in sorted((shared / name).glob("*.avro"))]
    assert len(native) == 31 + 50 + 8 + 4
    # Written again by Spark: another schema, with fields of its own.
    rewritten = [file.read_bytes() for file in sorted((shared / "ztf_4.02_spark").glob("*.avro"))[:20]]
    codec = known.having_met(native + rewritten).codec(16_000_000)
    assert (len(codec.writers), len(codec.schemas)) == (10, 4)  # other headers, and one other schema: that of Spark
    assert wrong(native + rewritten, decoded(native + rewritten, codec=codec)) == []


def test_a_fast_plan_stops_at_an_unknown_header(templates, messages):
    codec = known.codec()
    unknown = container(small(templates[0]), writer_schema("4.02")).replace(b"avro.codec", b"avro.kodec")
    # What is no container at all is nothing for the slow way either: it does not stop the query.
    harmless = decode(messages([b"junk", b"", None]), codec, SURVEY.checks).orderBy("number").collect()
    assert [row.reason for row in harmless] == ["not an Avro container", "empty message", "empty message"]
    with pytest.raises(SparkRuntimeException, match=UNKNOWN_WRITER):
        decode(messages([b"junk", unknown]), codec, SURVEY.checks).collect()


@pytest.mark.parametrize("slow", [False, True])
def test_each_schema_is_decoded_once_whatever_is_asked_of_the_result(spark, messages, templates, slow):
    """A filter on a decoded column must not bring a second decode into the plan."""
    codec = known.codec(slow=slow)
    from_kafka = messages([]).selectExpr("value", "topic", "partition", "offset", "now() as kafkaTimestamp")
    alerts = stream2raw.build(from_kafka, SURVEY, codec)
    asked = alerts.where("candidate.magpsf < 30 and objectId like 'ZTF%' and reason is null").select("candid", "candidate", "night")
    spark.conf.set("spark.sql.debug.maxToStringFields", 10_000)
    try:
        plan = asked._jdf.queryExecution().optimizedPlan().toString()
    finally:
        spark.conf.unset("spark.sql.debug.maxToStringFields")
    assert plan.count("from_avro(") == len(codec.schemas) + slow
    assert len(codec.schemas) == 3  # 4.01 and 4.02 differ in a default only
    assert ("slowly" in plan) == slow


def test_bad_input_is_rejected_with_its_reason_and_its_bytes(slowly):
    reasons = {
        "corrupt": "does not decode with its schema",
        "truncated": "does not decode: EOFError",
        "wrong schema": "not an alert: it has none of the fields schemavsn, publisher, objectId, ",
        "empty": "empty message",
        "not Avro": "not an Avro container",
        "oversized": "larger than 16000000 bytes",
        "absurd count": "does not decode with its schema",
        "not UTF-8": "text that is not UTF-8",
        "out of range": "candidate.jd is out of range",
    }
    for (kind, reason), (value, row) in zip(reasons.items(), slowly["bad"], strict=True):
        assert row["reason"].startswith(reason), (kind, row["reason"])
        assert bytes(row["value"]) == value, kind
        assert all(item is None for item in alert_of(row).values()), kind


def test_neighbours_of_bad_input_are_unharmed(slowly):
    neighbours = slowly["neighbours"] + slowly["neighbours after"]
    assert wrong([value for value, _ in neighbours], [row for _, row in neighbours]) == []


def test_forms_ranges_and_texts(slowly, templates):
    for reason, (value, row) in zip(special(templates).values(), slowly["special"], strict=True):
        if reason is None:
            assert wrong([value], [row]) == []
        else:
            assert (row["reason"] or "").startswith(reason), (reason, row["reason"])
            assert bytes(row["value"]) == value
    assert slowly["special"][-1][1]["schemavsn"] == "4é.0"


def test_mutants_are_what_fastavro_reads_or_rejected(slowly):
    """An answer that is neither fastavro's nor a rejection would be a wrong alert."""
    kept = 0
    for value, row in slowly["mutants"]:
        if row["reason"] is not None:
            assert bytes(row["value"]) == value
            continue
        kept += 1
        assert differences(shared_fields(only(value), alert_of(row)), alert_of(row)) == []
    # Flips within numbers and images decode; a decoder that rejected everything would prove nothing.
    assert 100 < kept < 350


def test_the_size_of_a_block_takes_as_many_bytes_as_avro_says(spark):
    """Around the lengths at which the block's size takes a byte more."""
    prefix, sync = b"Obj\x01header", bytes(range(16))
    sizes = [size for border in (64, 8_192, 1_048_576) for size in range(border - 3, border + 4)]
    rows = (
        spark.createDataFrame([(size, frame(bytes(size), prefix, sync)) for size in sizes], "length int, value binary")
        .withColumn("fault", F.lit(None).cast("string"))
        .withColumn("head", F.lit(len(prefix)))
        .withColumn("varint", framing.varint_length())
        .withColumn("size", F.length("value") - F.col("head") - 2 * framing.SYNC - 1 - F.col("varint"))
        .select(F.col("length").alias("n"), "size", framing.is_fast().alias("fast"))
        .collect()
    )
    assert sorted((row.n, row.size, row.fast) for row in rows) == [(size, size, True) for size in sizes]


def test_the_namespace_of_the_writer_s_schema(templates: list[dict[str, Any]], messages):
    """Known to the plan for what the JVM decodes; the slow way finds it in the message."""
    schema = writer_schema("3.3")
    other = json.loads(schema.text) | {"name": "ztf.v9.alert", "namespace": "not.this"}
    slow = io.BytesIO()
    fastavro.writer(slow, fastavro.parse_schema(other), [templates[0]], codec="deflate")
    values = [container(templates[0], schema), slow.getvalue(), garbage.EMPTY]
    rows = decode(messages(values), known.codec("3.3", slow=True), SURVEY.checks, "version").orderBy("offset").collect()
    assert [(row.reason, row.version) for row in rows] == [(None, "ztf"), (None, "ztf.v9"), ("empty message", None)]
