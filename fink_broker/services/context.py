"""What a service gets when it starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import SparkSession

from fink_broker.config import Settings
from fink_broker.surveys import Survey


@dataclass(frozen=True)
class RunOptions:
    """Options of one run, from the command line.

    Parameters
    ----------
    once : bool
        Work off all that is there, then end.
    night : str, optional
        Force the night (``YYYYMMDD``) of all alerts that come in.
    simulator : bool
        Read the simulator's topic on the local Kafka instead of the telescope's.
    """

    once: bool = False
    night: str | None = None
    simulator: bool = False


@dataclass(frozen=True)
class Context:
    """A Spark session, the settings, the survey and the options of this run.

    Parameters
    ----------
    memory : dict
        What services remember while this process lives, under names of their own: restarts of a query do not lose it.
    """

    spark: SparkSession
    settings: Settings
    survey: Survey
    options: RunOptions = RunOptions()
    memory: dict[str, Any] = field(default_factory=dict, compare=False)


def trigger(options: RunOptions, seconds: float) -> dict[str, Any]:
    """Arguments of a query's trigger: all that is there and then the end with `once`, else every so many seconds."""
    return {"availableNow": True} if options.once else {"processingTime": f"{round(seconds * 1000)} milliseconds"}
