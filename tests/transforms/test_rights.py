"""What an audience sees: alerts, and entries of their histories."""

from __future__ import annotations

import io
import json

import fastavro
import pytest
from pyspark.sql import DataFrame, SparkSession

from fink_broker.config import Settings
from fink_broker.errors import ConfigError
from fink_broker.filters import Filter, active
from fink_broker.surveys import get
from fink_broker.transforms.filters import with_topics
from fink_broker.transforms.rights import Audience, audiences, topics
from fink_broker.transforms.serialise import messages

ZTF = get("ztf")
# programid is that of the alert; then those of its history, in which magpsf is missing from an upper limit.
HISTORY = [(1, 18.0), (2, 18.5), (1, None), (3, None), (None, None)]
ROWS = [
    (1, "a", (1, 17.0, 0.9), HISTORY, [(1,), (2,)], b"cutout", "20260322"),
    (2, "b", (2, 17.0, 0.9), HISTORY, None, b"cutout", "20260322"),
    (3, "c", (None, 17.0, 0.9), [], [], b"cutout", "20260323"),
    (4, "d", (1, 17.0, 0.1), None, [(3,)], b"cutout", "20260323"),
]
COLUMNS = (
    "candid long, objectId string, candidate struct<programid: int, magpsf: double, rb: double>, "
    "prv_candidates array<struct<programid: int, magpsf: double>>, fp_hists array<struct<programid: int>>, "
    "cutoutScience binary, night string"
)
PARTNERS = {"name": "partners", "rule": "candidate.programid in (1, 2)", "filters": ["bright", "secret"]}


@pytest.fixture(scope="module")
def alerts(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame(ROWS, COLUMNS)


def settings(*own: dict[str, object], **distribution: object) -> Settings:
    filters = [{"name": name, "sql": "true"} for name in ("bright", "secret", "ztf_x", "bright_partners")]
    return Settings.model_validate({"distribution": {"filters": ["bright"]} | distribution, "audiences": own, "filters": filters})


def sent(alerts: DataFrame, config: Settings, *, counted: bool = False) -> dict[str, list[dict[str, object]]]:
    """Decoded messages by topic."""
    filters = active(config, ZTF)
    who = audiences(config, ZTF, filters)
    names = [name for one in who for name in topics(one, filters, ZTF)]
    found: dict[str, list[dict[str, object]]] = {}
    for one in messages(with_topics(alerts, filters, ZTF), ZTF, dict.fromkeys(names, 4), who, counted=counted).collect():
        schema = fastavro.parse_schema(json.loads(bytes(one.key)))
        alert = fastavro.schemaless_reader(io.BytesIO(one.value), schema, None)
        assert isinstance(alert, dict)
        assert 0 <= one.partition < 4
        found.setdefault(one.topic, []).append(alert)
    return {topic: sorted(some, key=str) for topic, some in found.items()}


def test_each_audience_gets_what_its_rule_says(alerts: DataFrame):
    found = sent(alerts, settings(PARTNERS))
    ids = {topic: [alert["candid"] for alert in some] for topic, some in found.items()}
    assert ids == {"fink_bright_ztf": [1, 4], "fink_bright_partners_ztf": [1, 2, 4], "fink_secret_partners_ztf": [1, 2, 4]}
    assert all(alert["cutoutScience"] == b"cutout" for some in found.values() for alert in some)


def test_the_history_is_held_to_the_rule(alerts: DataFrame):
    found = sent(alerts, settings(PARTNERS))

    def history(topic: str, name: str) -> list[list[object] | None]:
        return [None if alert[name] is None else [one["programid"] for one in alert[name]] for alert in found[topic]]  # type: ignore[attr-defined]

    # Upper limits too, and nothing of which the programme is not known.
    assert history("fink_bright_ztf", "prv_candidates") == [[1, 1], None]
    assert history("fink_bright_ztf", "fp_hists") == [[1], []]
    assert history("fink_bright_partners_ztf", "prv_candidates") == [[1, 2, 1], [1, 2, 1], None]
    assert history("fink_bright_partners_ztf", "fp_hists") == [[1, 2], None, []]
    for some in found.values():
        for alert in some:
            row = dict(zip([column.split()[0] for column in ("candid", "objectId")], ROWS[int(str(alert["candid"])) - 1][:2], strict=True))
            assert row.items() <= alert.items()


def test_a_rule_may_allow_what_is_not_known_and_name_what_entries_lack(alerts: DataFrame):
    rule = "(candidate.programid = 1 or candidate.programid is null) and (candidate.rb > 0.5 or candidate.rb is null)"
    found = sent(alerts, settings(public=rule))["fink_bright_ztf"]
    assert [alert["candid"] for alert in found] == [1, 3]
    assert [one["programid"] for one in found[0]["prv_candidates"]] == [1, 1, None]  # type: ignore[attr-defined]
    # Here an entry's rb is always missing, and the rule does not allow that.
    found = sent(alerts, settings(public="candidate.programid = 1 and candidate.rb > 0.5"))["fink_bright_ztf"]
    assert [(alert["candid"], alert["prv_candidates"], alert["fp_hists"]) for alert in found] == [(1, [], [])]


def test_without_a_rule_all_is_seen(alerts: DataFrame):
    found = sent(alerts, settings(public=""))["fink_bright_ztf"]
    assert [alert["candid"] for alert in found] == [1, 2, 3, 4]
    assert len(found[0]["prv_candidates"]) == len(HISTORY)  # type: ignore[arg-type]


def test_each_alert_that_the_public_sees_is_counted(alerts: DataFrame):
    found = sent(alerts, settings(PARTNERS), counted=True)
    assert {topic: some for topic, some in found.items() if topic.startswith("fink_ztf_")} == {
        "fink_ztf_20260322": [{"objectId": "a"}],
        "fink_ztf_20260323": [{"objectId": "d"}],
    }
    assert len(found["fink_bright_partners_ztf"]) == 3


@pytest.mark.parametrize(
    ("own", "distribution", "fault"),
    [
        ([PARTNERS | {"rule": "candidate.program = 1"}], {}, "the rule of the audience 'partners' is not SQL on an alert: .*program"),
        ([], {"public": "candidate.magpsf"}, "the rule of the audience 'public' is not a condition: its type is double"),
        ([PARTNERS], {"filters": ["bright", "bright_partners"]}, "would share the topic fink_bright_partners_ztf: rename one"),
        ([], {"filters": ["ztf_x"]}, "the topic fink_ztf_x_ztf would be taken for one that counts alerts"),
        ([PARTNERS | {"name": "public"}], {}, "an audience cannot be called public"),
        ([PARTNERS | {"filters": ["brihgt"]}], {}, "unknown filter 'brihgt', did you mean 'bright'"),
    ],
)
def test_what_is_wrong_is_said(alerts: DataFrame, own: list[dict[str, object]], distribution: dict[str, object], fault: str):
    with pytest.raises(ConfigError, match=fault):
        sent(alerts, settings(*own, **distribution))


def test_rubin_has_no_rule_of_its_own(spark: SparkSession):
    rubin = get("rubin")
    [public] = audiences(Settings(survey="rubin"), rubin, [Filter("all", sql="true")])
    assert public == Audience()
    rows = [((7, 1.0), [(6, 1.0), (5, -1.0)], [(4,)])]
    columns = "diaSource {0}, prvDiaSources array<{0}>, prvDiaForcedSources array<struct<id: int>>".format("struct<id: int, flux: double>")
    science = spark.createDataFrame(rows, columns)
    positive = Audience("x", "diaSource.flux > 0")
    [row] = science.select(*[positive.history(name, science, rubin) for name in rubin.histories]).collect()
    assert ([one.id for one in row[0]], row[1]) == ([6], [])
