"""One module a command of the launcher; each has `main(argv) -> exit code`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from fink_broker.errors import FinkError


def run(main: Callable[[list[str]], int]) -> NoReturn:
    """Run a command with the arguments of this process, then end the process with its exit code.

    An error that is meant for the user becomes one line on the standard error and its exit code; what else is raised is a fault of
    the broker and keeps its stack trace.
    """
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except FinkError as error:
        print(f"fink: {error}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader has gone (fink show | head): nothing more can be said, not even by Python's own flush at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 128 + signal.SIGPIPE
    sys.exit(code)
