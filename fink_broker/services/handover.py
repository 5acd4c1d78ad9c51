"""After a shutdown with ``catch_up = "both"``: what came meanwhile is left to the backlog's query; the live one goes on with the newest.

A query that goes on cannot be told where: so it runs once up to the newest message with a plan that takes none. The batches of that run
say, in Spark's own logs, which offsets were passed over; those are written down for the other query before the live one takes a message.
Each offset belongs to one of the two from then on, whatever the configuration says later.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from fink_broker.config import Settings
from fink_broker.connectors import backlog, parquet
from fink_broker.connectors.ranges import Offsets, between, waiting
from fink_broker.connectors.sparklog import newest, offsets
from fink_broker.monitoring import gaps
from fink_broker.services import telescope
from fink_broker.services.context import Context

_LIVE = "stream2raw"

log = logging.getLogger(__name__)


def hand_over(context: Context, pass_over: Callable[[], None]) -> None:
    """Leave a backlog to its query, if it is to be; finish what was begun before.

    Parameters
    ----------
    context : Context
        Settings, and where the telescope's Kafka is.
    pass_over : callable
        Runs the live query up to the newest message without taking any.
    """
    settings = context.settings
    first = backlog.opened(settings.backlog)
    if first is None:
        if not _wanted(context):
            return
        first = newest(settings.raw / parquet.LOG) + 1
        backlog.open_(settings.backlog, first)
    pass_over()
    last = newest(settings.raw / parquet.LOG)
    # Of a batch that ended before its time the sink knows nothing: it was passed over too, with what it would have read.
    left = between(_reached(settings, first - 1), _reached(settings, last)) if last >= first else []
    gaps.check(settings, telescope.connection(context), passed_over=True)
    backlog.close(settings.backlog, left, settings.stream2raw.max_alerts_per_trigger)
    log.info("left %d messages to the backlog, which comes in beside the new alerts", sum(max(one.size, 0) for one in left))


def _wanted(context: Context) -> bool:
    """Whether more has come than a batch takes."""
    settings, batch = context.settings, newest(context.settings.raw / parquet.LOG)
    if settings.stream2raw.catch_up != "both" or context.options.once:
        return False
    if batch < 0 and settings.kafka.input.starting_offsets == "latest":
        return False
    there = waiting(telescope.connection(context), telescope.topics(context), _reached(settings, batch))
    return sum(there.values()) > settings.stream2raw.max_alerts_per_trigger


def _reached(settings: Settings, batch: int) -> Offsets:
    """Where a batch of the live query has ended, or where it began."""
    checkpoint = settings.checkpoint(_LIVE)
    reached: Offsets = offsets(checkpoint, batch) if batch >= 0 else gaps.began(checkpoint)
    return reached
