"""Follow-up by the API: only by who may write."""

from __future__ import annotations

import json
import urllib.request
from urllib.error import HTTPError

import pytest


def test_follow_up_needs_a_token(address: str) -> None:
    with urllib.request.urlopen(f"{address}/api/v1/followup", timeout=10) as answer:
        assert json.load(answer) == []
    body = json.dumps({"objectId": "ZTF26aaaaaaa", "to": "spectra"}).encode()
    request = urllib.request.Request(f"{address}/api/v1/followup", body, {"Content-Type": "application/json"})
    with pytest.raises(HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    assert refused.value.code in (401, 403)
