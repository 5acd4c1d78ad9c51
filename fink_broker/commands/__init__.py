"""One module a command of the launcher; each has `main(argv) -> exit code`."""

from __future__ import annotations

import argparse
import logging
import os
import re
import signal
import sys
from collections.abc import Callable
from datetime import date
from typing import NoReturn

from fink_broker.errors import FinkError, UsageError

if sys.argv[0] == "-m" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # A command is being imported: until it runs, Ctrl-C ends it without a trace.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Parser(argparse.ArgumentParser):
    """Reads a command's arguments; its help is the header of `bin/fink-<command>`, and a mistake is one line.

    Parameters
    ----------
    command : str
        Name of the command.
    """

    def __init__(self, command: str) -> None:
        super().__init__(prog=f"fink {command}", add_help=False, allow_abbrev=False)
        self.add_argument("-c", "--conf")

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage.

        Raises
        ------
        UsageError
            Always.
        """
        raise UsageError(f"{message} ({self.prog} -h shows the options)")


def positive(text: str) -> int:
    """A whole number above 0 from the command line; for `argparse` as a type."""
    if not re.fullmatch("0*[1-9][0-9]*", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above 0")
    return int(text)


def parse_night(text: str) -> str:
    """A night from the command line, ``YYYYMMDD``; for `argparse` as a type."""
    fault = argparse.ArgumentTypeError(f"'{text}' is not a night: give YYYYMMDD, such as 20260322")
    if not re.fullmatch("[0-9]{8}", text):
        raise fault
    try:
        date.fromisoformat(text)
    except ValueError as error:
        raise fault from error
    return text


def run(main: Callable[[list[str]], int]) -> NoReturn:
    """Run a command with the arguments of this process, then end the process with its exit code.

    An error that is meant for the user becomes one line on the standard error and its exit code. What else is raised is a fault of the
    broker: one line too, and its stack trace goes to the log, or to the standard error where the command has none.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
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
    except OSError as error:
        if logging.getLogger().handlers:
            logging.getLogger(__name__).exception("the operating system refused")
        print(f"fink: {error.strerror or error}: {error.filename or ''}{_where()}", file=sys.stderr)
        code = 1
    # Whatever it is: the user needs to know that it is not their mistake, and where to look.
    except Exception as error:
        if _interrupted(error):
            sys.exit(128 + signal.SIGINT)
        logging.getLogger(__name__).exception("a fault of the broker")
        print(f"fink: a fault of the broker, {type(error).__name__}: {' '.join(str(error).split())[:200]}{_where()}", file=sys.stderr)
        code = 1
    sys.exit(code)


def _interrupted(error: BaseException) -> bool:
    """Whether this is what Ctrl-C has led to: a connection to Java that was left in the middle of an answer, say."""
    before = error.__context__
    return isinstance(error, KeyboardInterrupt) or (before is not None and _interrupted(before))


def _where() -> str:
    files = [handler.baseFilename for handler in logging.getLogger().handlers if isinstance(handler, logging.FileHandler)]
    return f"; details in {files[0]}" if files else ""
