"""Follow-up of an object, asked for from its page or by the API: only by who may write, and nothing is sent unless that is said."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends
from pydantic import Field

from fink_broker.config import Settings
from fink_broker.services import followup
from fink_broker.web.asks import Asked
from fink_broker.web.pool import Pool
from fink_broker.web.writing import Check


class Ask(Asked):
    """What is asked."""

    objectId: str = Field(min_length=1, max_length=100)
    to: str = Field(description="name of the outlet")
    send: bool = Field(default=False, description="without, the answer says what would be sent")


def router(settings: Settings, pool: Pool, check: Check) -> APIRouter:
    """The routes.

    Parameters
    ----------
    settings : Settings
        Outlets.
    pool : Pool
        Connections to the tables.
    check : callable
        Who may write.
    """
    api = APIRouter(prefix="/api/v1")

    @api.get("/followup", tags=["writing"])
    def outlets() -> list[str]:
        """Where follow-up can be asked for."""
        return followup.names(settings)

    @api.post("/followup", tags=["writing"], dependencies=[Depends(check)])
    def ask(what: Ask) -> dict[str, Any]:
        """Ask for follow-up of an object, or say what would be asked."""
        followup.check(settings, what.to)  # before HBase is asked
        with pool.tables() as tables:
            requests = followup.ask(settings, tables, what.objectId, what.to, send=what.send)
        return {"sent": what.send, "requests": requests}

    return api
