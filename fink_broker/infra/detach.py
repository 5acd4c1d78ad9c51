"""Programs that go on without the terminal."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

from fink_broker.config import without_secrets
from fink_broker.errors import FinkError


def detach(argv: list[str], log_path: Path, env: Mapping[str, str] | None = None) -> int:
    """Start a program in a session of its own, without input, its output appended to a log.

    Parameters
    ----------
    env : mapping, optional
        Its environment; by default this one without our passwords, which no server needs.

    Returns
    -------
    int
        Process id.

    Raises
    ------
    FinkError
        The program is not there.
    """
    log_path.parent.mkdir(parents=True, exist_ok=True)
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log_path), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    # A shell starts background jobs with SIGINT ignored, and Python ignores SIGPIPE: neither is for the program.
    defaults = [signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE, signal.SIGHUP, signal.SIGTERM]
    try:
        environment = without_secrets(os.environ) if env is None else env
        return os.posix_spawnp(argv[0], argv, environment, file_actions=actions, setsid=True, setsigdef=defaults)
    except OSError as error:
        raise FinkError(f"cannot start {argv[0]}: {error.strerror}") from error
