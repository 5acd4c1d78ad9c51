"""What was rejected goes through again once its cause is mended: exactly once, and the sums go on meeting."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.conftest import Broker
from tests.integration.test_evolution import wait_for
from tests.integration.test_pipeline import rows
from tests.integration.test_rubin import alert, body, configure, framed, schema

pytestmark = pytest.mark.integration


def test_alerts_of_a_schema_that_came_late(broker: Callable[[str], Broker], tmp_path: Path) -> None:
    writer = schema()
    (tmp_path / "900.avsc").write_text(json.dumps(writer))
    one = broker("patient broker")
    configure(one, tmp_path, "lsst_late")
    late = [framed(901, body(writer, alert(number))) for number in (2, 3, 4)]
    bad = framed(900, b"\xff" * 40)
    one.send("lsst_late", [framed(900, body(writer, alert(1))), *late, bad])
    one.run("start", "stream2raw", "--once")
    reasons = {"no schema has the id 901": 3, "does not decode with its schema": 1}
    assert json.loads(one.run("rejected", "--json")) == {"ok": True, "rejected": reasons}
    assert one.status()["services"]["stream2raw"]["rejected"] == reasons
    [place] = [
        f"{row['topic']}/{row['partition']}/{row['offset']}" for row in rows(one.settings.raw, status="rejected") if row["value"] == bad
    ]
    shown = one.run("rejected", "--show", place, "--save", str(tmp_path / "saved"))
    assert "reason: does not decode with its schema" in shown
    assert (tmp_path / "saved").read_bytes() == bad

    (tmp_path / "901.avsc").write_text(json.dumps(writer))
    assert one.run("replay") == "4 sent again: fink start stream2raw takes them in\n"
    assert one.run("replay") == "nothing to replay\n"
    one.run("start", "stream2raw", "--once")
    assert sorted(row["diaSourceId"] for row in rows(one.settings.raw, status="ok")) == [1, 2, 3, 4]
    assert json.loads(one.run("rejected", "--json"))["rejected"] == {"does not decode with its schema": 1}
    state = one.status()
    intake = state["services"]["stream2raw"]
    assert (state["ok"], intake["in"], intake["out"], sum(intake["rejected"].values())) == (True, 5, 4, 1)

    process = one.open("start", "stream2raw")
    try:
        wait_for(lambda: one.status()["services"]["stream2raw"]["state"] == "running")
        assert one.run("replay", "--reason", "decode") == "1 sent again: 0 came through, 1 were rejected again\n"
    finally:
        process.terminate()
        assert process.wait(60) == 0
    assert one.status()["ok"]
    assert len(rows(one.settings.raw, status="ok")) == 4
