"""Ports are free when they are said to be."""

import socket
from collections.abc import Iterator

import pytest

from fink_broker.errors import ServerUnavailable
from fink_broker.infra import ports


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server((ports.HOST, 0)) as server:
        yield server.getsockname()[1]


def test_a_free_port_can_be_bound() -> None:
    port = ports.free()
    assert ports.is_free(port)
    assert not ports.answers(port)
    with socket.create_server((ports.HOST, port)):
        assert not ports.is_free(port)
        assert ports.answers(port)


def test_a_port_taken_on_all_addresses_is_not_free() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        assert not ports.is_free(server.getsockname()[1])


def test_port_0_means_any_free_one() -> None:
    port = ports.choose(0, "Kafka", "[kafka.embedded] port")
    assert 20_000 <= port < 32_000
    assert ports.is_free(port)


def test_a_configured_port_is_kept() -> None:
    port = ports.free()
    assert ports.choose(port, "Kafka", "[kafka.embedded] port") == port


def test_a_taken_port_names_the_port_and_the_key(taken: int) -> None:
    with pytest.raises(ServerUnavailable) as raised:
        ports.choose(taken, "Kafka", "[kafka.embedded] port")
    assert str(raised.value) == f"port {taken} for Kafka is taken: set [kafka.embedded] port to another one, or to 0 for any free one"


def test_no_free_port_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda port: False)
    with pytest.raises(ServerUnavailable, match="no free port between 20000 and 32000"):
        ports.free()
