"""PySpark's daemon of Python workers, with coverage saved after every task: a worker is ended by a signal, never by an exit."""

from collections.abc import Callable
from typing import BinaryIO

import coverage
from pyspark import daemon

_task: Callable[[BinaryIO, BinaryIO], None] = daemon.worker_main


def _measured(infile: BinaryIO, outfile: BinaryIO) -> None:
    try:
        _task(infile, outfile)
    finally:
        measurement = coverage.Coverage.current()
        if measurement is not None:
            measurement.save()


daemon.worker_main = _measured

if __name__ == "__main__":
    daemon.manager()
