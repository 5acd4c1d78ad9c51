"""What may be written by the API, and by whom: annotations, and which filters run."""

import hmac
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import SecretStr
from starlette.exceptions import HTTPException

from fink_broker import query
from fink_broker.config import Settings
from fink_broker.errors import ConfigError, UsageError
from fink_broker.filters import registry
from fink_broker.monitoring import filters as notes
from fink_broker.query.formats import encoded
from fink_broker.surveys import Survey, get
from fink_broker.web import asks
from fink_broker.web.answers import MEDIA
from fink_broker.web.pool import Pool

_VARIABLE = "FINK_DASHBOARD__TOKEN"
_SHORTEST = 16
_BEARER = HTTPBearer(auto_error=False, description="the token of [dashboard]")

Check = Callable[[HTTPAuthorizationCredentials | None], None]


def token(settings: Settings) -> SecretStr:
    """The token by which may be written; empty if nothing may.

    Raises
    ------
    ConfigError
        Its file cannot be read, or it is too short.
    """
    secret, file = settings.dashboard.token.get_secret_value(), settings.dashboard.token_file
    if not secret and file is not None:
        path = settings.below_checkout(file.expanduser())
        try:
            if path.stat().st_mode & 0o077:
                raise ConfigError(f"[dashboard] token_file: others than its owner may read {path}: chmod 600")
            secret = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"[dashboard] token_file: cannot read {path}: {getattr(error, 'strerror', 'it is no text')}") from error
        if not secret:
            raise ConfigError(f"[dashboard] token_file: {path} is empty")
    if secret and len(secret) < _SHORTEST:
        raise ConfigError(f"[dashboard] the token has fewer than {_SHORTEST} characters")
    return SecretStr(secret)


def allowed(secret: SecretStr) -> Check:
    """A check of who writes."""
    wanted = secret.get_secret_value().encode()

    def check(given: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]) -> None:
        if not wanted:
            raise HTTPException(403, f"this broker is read-only: set [dashboard] token_file, or {_VARIABLE} in its environment")
        # As long for a wrong beginning as for a wrong end.
        if given is None or not hmac.compare_digest(given.credentials.encode(), wanted):
            raise HTTPException(401, "writing needs the header Authorization: Bearer <token>", {"WWW-Authenticate": "Bearer"})

    return check


def said(api: APIRouter, survey: Survey, pool: Pool, check: Check) -> None:
    """Add the routes of annotations of a survey."""
    assert survey.lookups is not None
    model = asks.named(asks.Annotation, survey.lookups.api)

    # The token first: who may not write is told no more.
    def annotate(ask: Any) -> dict[str, bool]:
        """Say something of an alert, in place of what was said of that kind before."""
        with pool.tables() as tables:
            query.annotate(tables, ask.objectId, ask.kind, ask.value, who=ask.who, source=ask.source, alert_id=ask.candid)
        return {"ok": True}

    annotate.__annotations__["ask"] = model
    api.add_api_route("/annotations", annotate, methods=["POST"], tags=["writing"], dependencies=[Depends(check)])

    @api.get("/annotations", tags=["objects"])
    def of_object(object_id: Annotated[str, Query(alias=survey.lookups.api.object)]) -> Response:
        """What was said of the alerts of an object."""
        with pool.tables() as tables:
            return Response(encoded(query.annotations(tables, object_id), "json"), media_type=MEDIA["json"])


def switches(api: APIRouter, settings: Settings, check: Check) -> None:
    """Add the route that switches filters."""

    @api.post("/filters/{name}", tags=["writing"], dependencies=[Depends(check)])
    def switch(name: Annotated[str, Path(pattern="^[a-z][a-z0-9_]*$")], ask: asks.Switch) -> dict[str, bool]:
        """Switch a filter off, or on again; a running service takes it up within seconds."""
        names = [one.name for one in registry.active(settings, get(settings.survey))]
        if name not in names:
            raise UsageError(f"there is no filter '{name}' in use; there are {', '.join(names)}")
        if ask.on:
            notes.enable(settings, name)
        else:
            notes.disable(settings, name, "switched off by the API")
        return {"on": ask.on}
