"""Waiting with back-off."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from fink_broker.errors import ServerUnavailable
from fink_broker.infra import retry
from fink_broker.infra.retry import patiently


class Clock:
    """Time that passes only while one sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(round(seconds, 6))
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fake = Clock()
    monkeypatch.setattr(retry, "time", fake)
    return fake


def server(failures: int, fault: Exception) -> Callable[[], str]:
    left = [failures]

    def ask() -> str:
        if left[0]:
            left[0] -= 1
            raise fault
        return "here"

    return ask


def test_at_once(clock: Clock):
    assert patiently(server(0, OSError()), (OSError,), 10, "it") == "here"
    assert clock.pauses == []


def test_pauses_double_up_to_ten_seconds(clock: Clock, capsys: pytest.CaptureFixture[str]):
    assert patiently(server(9, OSError("refused")), (OSError,), 300, "Kafka at x:1") == "here"
    assert clock.pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0, 10.0]
    # Said once, and only if it takes long.
    assert capsys.readouterr().err == "waiting for Kafka at x:1 (at most 300 s) ...\n"


def test_gives_up_in_time_and_says_what_to_do(clock: Clock):
    with pytest.raises(ServerUnavailable) as raised:
        patiently(server(1000, OSError("refused")), (OSError,), 5, "Kafka at x:1")
    assert str(raised.value) == "Kafka at x:1 did not answer within 5 s: is it running? ([wait] seconds sets how long to try)"
    assert raised.value.exit_code == 3
    assert isinstance(raised.value.__cause__, OSError)
    assert 5 <= clock.now - 1000 < 5.2


def test_another_fault_is_raised_at_once(clock: Clock):
    with pytest.raises(ValueError, match="wrong"):
        patiently(server(1, ValueError("wrong")), (OSError,), 10, "it")
    assert clock.pauses == []


def test_in_real_time():
    before = time.monotonic()
    assert patiently(server(2, OSError()), (OSError,), 10, "it") == "here"
    assert 0.55 < time.monotonic() - before < 5
