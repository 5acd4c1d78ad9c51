"""raw2science on alerts that lie there."""

from __future__ import annotations

import pytest

from datasim.packet import container, writer_schema
from fink_broker import __version__
from fink_broker.config import Settings
from fink_broker.config.sections import Raw2science
from fink_broker.science.registry import active
from fink_broker.services import raw2science, stream2raw
from fink_broker.services.context import Context
from fink_broker.surveys import get
from tests import known

SURVEY = get("ztf")


@pytest.fixture(scope="module")
def raw(spark, templates):
    """Ten alerts that pass, one of them twice; one for each cut that does not; one rejected message."""
    base = templates[0]["candidate"] | {"nbad": 0, "rb": 0.9, "fid": 1}
    cases = [{"candid": number} for number in range(1, 11)] + [{"candid": 3}]
    cases += [{"candid": 20, "nbad": 1}, {"candid": 21, "rb": 0.54}, {"candid": 22, "rb": None}, {"candid": 23, "fid": 3}]
    records = [templates[0] | {"candid": case["candid"], "candidate": base | case} for case in cases]
    values = [container(record, writer_schema("3.3")) for record in records] + [b"junk"]
    messages = spark.createDataFrame(list(enumerate(values)), "offset long, value binary").selectExpr(
        "value", "'t' as topic", "0 as partition", "offset", "now() as kafkaTimestamp"
    )
    return stream2raw.build(messages, SURVEY, known.codec("3.3")).cache()


@pytest.mark.parametrize("names", [[], ["nalerthist"]])
def test_cuts_repeats_columns_and_versions(spark, raw, names):
    settings = Settings(raw2science=Raw2science(modules=names))
    modules = active(settings, SURVEY)
    built = raw2science.build(raw, SURVEY, modules, raw2science.science_version(modules), "2 days")
    rows = built.collect()
    assert sorted(row.candid for row in rows) == list(range(1, 11))
    assert {(row.publisher, row.fink_broker_version) for row in rows} == {("Fink", __version__)}
    assert {row.fink_science_version for row in rows} == {__version__ if names else "no-science"}
    inside = {"status", "reason", "value", "topic", "partition", "offset", "kafkaTimestamp", "record"}
    assert not inside & set(built.columns)
    assert {"night", "brokerIngestTimestamp", "brokerStartProcessTimestamp", "brokerEndProcessTimestamp", *names} <= set(built.columns)
    # Readers know the columns before the first file is there.
    assert raw2science.schema(Context(spark, settings, SURVEY)).names == built.columns
