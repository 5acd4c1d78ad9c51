"""Ports on this machine: free ones, and whether a given one is."""

from __future__ import annotations

import random
import socket

from fink_broker.errors import ServerUnavailable

HOST = "127.0.0.1"

# Below the range that the kernel gives to outgoing connections: what is free stays free until the server binds it.
_RANGE = range(20_000, 32_000)


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def answers(port: int) -> bool:
    """Whether something accepts connections on the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port)) == 0


def free() -> int:
    """A port that is free."""
    for port in random.sample(_RANGE, 200):
        if is_free(port):
            return port
    raise ServerUnavailable(f"no free port between {_RANGE.start} and {_RANGE.stop}")


def choose(port: int, server: str, key: str) -> int:
    """The configured port, or a free one if it is 0.

    Parameters
    ----------
    server, key : str
        Who needs it and which key of the configuration sets it, for the message.

    Raises
    ------
    ServerUnavailable
        The configured port is taken.
    """
    if port == 0:
        return free()
    if not is_free(port):
        raise ServerUnavailable(f"port {port} for {server} is taken: set {key} to another one, or to 0 for any free one")
    return port
