"""Each message has its outcome; where nobody answers that is one too."""

from __future__ import annotations

import pyarrow as pa

from fink_broker.connectors import careful
from fink_broker.connectors.security import Connection


def test_nobody_answers():
    rows = [
        {"topic": "t", "key": b"k", "value": b"v", "partition": 0, "headers": [{"key": "fink-id", "value": b"%d" % number}]}
        for number in range(12)
    ]
    [batch] = careful.send([pa.RecordBatch.from_pylist(rows)], Connection("127.0.0.1:1"), 0.5)
    [outcome] = batch.to_pylist()
    assert (outcome["topic"], outcome["messages"], outcome["code"] in careful.NO_ANSWER) == ("t", 12, True)
    assert sorted(outcome["ids"], key=int) == outcome["ids"][-10:] == [str(number) for number in range(2, 12)]


def test_nothing_is_sent_of_nothing():
    [batch] = careful.send([], Connection("127.0.0.1:1"), 0.5)
    assert batch.num_rows == 0
