"""Sky maps of notices that have come, by their event."""

from __future__ import annotations

import os
from pathlib import Path

from fink_broker.notices.notice import parse
from fink_broker.notices.received import skymap_of
from tests.notices.samples import gwalert, written


def test_the_newest_map_of_an_event_counts(tmp_path: Path) -> None:
    alert = gwalert()
    event = alert["superevent_id"]
    for number, (name, content) in enumerate(
        {
            "first": written(alert),
            "other": written(gwalert(superevent_id="S991231z")),
            "broken": event.encode() + b" is no notice",
            "retracted": written(gwalert(alert_type="RETRACTION")),
        }.items()
    ):
        (tmp_path / name).write_bytes(content)
        os.utime(tmp_path / name, (number, number))
    found = skymap_of(tmp_path, event)
    assert found is not None
    notice = parse(written(alert))
    assert found[1] == notice.jd - 2_400_000.5
    assert notice.skymap is not None
    assert found[0].values.tolist() == notice.skymap.values.tolist()
    assert skymap_of(tmp_path, "S000000a") is None
    assert skymap_of(tmp_path / "none", event) is None
