"""The outlets of the configuration, made ready: adapter, options, secret, topics."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError

from fink_broker.config import Settings
from fink_broker.config.outlets import Outlet
from fink_broker.config.sections import Section
from fink_broker.errors import ConfigError
from fink_broker.outlets import adapters
from fink_broker.outlets.alert import Alert
from fink_broker.outlets.request import Mail, Request
from fink_broker.plugins import load_module
from fink_broker.surveys import Survey
from fink_broker.surveys.facts import Facts

# One after the other.
Messages = Sequence[Request | Mail] | Generator[Request | Mail, Any, None]

_SECRET = "{secret}"
_HTTP, _SMTP = ("http", "https"), ("smtp", "smtps")


@dataclass(frozen=True)
class Way:
    """An outlet that can be used; its secret is masked in its text.

    Parameters
    ----------
    outlet : Outlet
        As the configuration has it.
    topics : str
        Regular expression of the topics that are read.
    facts : Facts
        What is told of an alert of the survey.
    single, summary : callable, optional
        What the adapter gives for one alert (requests one after the other; a generator is sent what each is answered), and for many
        (one message).
    digest_s : float
        How long alerts are gathered for one message; 0 for each on its own.
    secret : SecretStr
        Empty for none.
    authorization : str
        Header, with ``{secret}`` in it.
    """

    outlet: Outlet
    topics: str
    facts: Facts
    single: Callable[[Alert], Messages] | None
    summary: Callable[[Sequence[Alert]], Request | Mail] | None
    digest_s: float
    secret: SecretStr = field(repr=False)
    authorization: str = ""

    @property
    def name(self) -> str:
        """The outlet's."""
        return self.outlet.name

    @property
    def group(self) -> str:
        """Its consumer group."""
        return f"fink-outlet-{self.name}"

    def filled(self, text: str) -> str:
        """A text of the configuration with the secret in it."""
        return text.replace(_SECRET, self.secret.get_secret_value())

    def masked(self, text: str) -> str:
        """A text of somebody else without the secret."""
        secret = self.secret.get_secret_value()
        return text.replace(secret, "***") if secret else text


def kinds() -> list[str]:
    """Kinds of outlets that come with the broker."""
    return sorted(module.name for module in pkgutil.iter_modules(adapters.__path__))


def ways(settings: Settings, survey: Survey) -> list[Way]:
    """All outlets of the configuration.

    Raises
    ------
    ConfigError
        One cannot be used; the message names it.
    """
    names = [one.name for one in settings.outlets]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two outlets are called '{name}'")
    for name in settings.secrets.keys() - set(names):
        raise ConfigError(f"secrets.{name}: there is no outlet '{name}'; outlets: {', '.join(names) or 'none'}")
    return [_way(one, settings, survey) for one in settings.outlets]


def _way(outlet: Outlet, settings: Settings, survey: Survey) -> Way:
    where = f"outlet '{outlet.name}'"
    if survey.facts is None:
        raise ConfigError(f"{survey.name} does not say what outlets tell of an alert (surveys: facts)")
    adapter = _adapter(outlet, settings, where)
    options = _options(adapter, outlet, where)
    single, summary = getattr(adapter, "single", None), getattr(adapter, "summary", None)
    digest = getattr(adapter, "DIGEST_MINUTES", 0.0) if outlet.digest_minutes is None else outlet.digest_minutes
    if single is None and summary is None:
        raise ConfigError(f"{where}: {outlet.kind} has neither single(alert, options) nor summary(alerts, options)")
    if digest and summary is None:
        raise ConfigError(f"{where}: {outlet.kind} has no message for many alerts: leave digest_minutes out")
    if not digest and single is None:
        raise ConfigError(f"{where}: {outlet.kind} has no message for a single alert: give digest_minutes")
    secret = _secret(outlet, settings, where)
    _check_url(outlet, secret, _SMTP if getattr(adapter, "MAIL", False) else _HTTP, where)
    return Way(
        outlet,
        topics(outlet, survey),
        survey.facts,
        single and (lambda alert: single(alert, options)),
        summary and (lambda alerts: summary(alerts, options)),
        60 * digest,
        secret,
        getattr(adapter, "AUTHORIZATION", f"Bearer {_SECRET}") if secret.get_secret_value() and _SECRET not in outlet.url else "",
    )


def _adapter(outlet: Outlet, settings: Settings, where: str) -> ModuleType:
    if not outlet.kind.endswith(".py") and outlet.kind not in kinds():
        raise ConfigError(f"{where}: unknown kind '{outlet.kind}'; known: {', '.join(kinds())}, or a file (mine.py)")
    own = outlet.kind.endswith(".py")
    module: ModuleType = load_module(
        str(settings.below_checkout(Path(outlet.kind).expanduser())) if own else f"{adapters.__name__}.{outlet.kind}"
    )
    return module


def _options(adapter: ModuleType, outlet: Outlet, where: str) -> Section:
    """The options, as the adapter's `Options` says; an adapter without takes none."""
    try:
        options: Section = getattr(adapter, "Options", Section).model_validate(outlet.options)
        return options
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in ("options", *fault["loc"]))
        raise ConfigError(f"{where}: {key}: {fault['msg'].removeprefix('Value error, ')}") from error


def _secret(outlet: Outlet, settings: Settings, where: str) -> SecretStr:
    variable = f"FINK_SECRETS__{outlet.name.upper()}"
    secret = settings.secrets.get(outlet.name, SecretStr("")).get_secret_value()
    if not secret and outlet.secret_file is not None:
        path = settings.below_checkout(outlet.secret_file.expanduser())
        try:
            secret = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{where}: secret_file: cannot read {path}: {getattr(error, 'strerror', 'it is no text')}") from error
    if not secret and (outlet.secret_file or outlet.username or _SECRET in outlet.url):
        raise ConfigError(f"{where}: no secret: set {variable} in the environment, or secret_file")
    # What goes into a URL or a header must not end it.
    if not (secret.isascii() and secret.isprintable()):
        raise ConfigError(f"{where}: the secret is not one line of ASCII text")
    return SecretStr(secret)


def _check_url(outlet: Outlet, secret: SecretStr, schemes: Sequence[str], where: str) -> None:
    whole = outlet.url == _SECRET
    try:
        url = urlsplit(secret.get_secret_value() if whole else outlet.url)
        sound = url.scheme in schemes and bool(url.hostname) and (url.port or 0) >= 0 and outlet.url.isascii()
    except ValueError:
        sound = False
    if not sound:
        raise ConfigError(f"{where}: {'the secret' if whole else 'url'} is no address for {outlet.kind}: it begins with {schemes[1]}://")
    if not whole and (url.username or url.password):
        raise ConfigError(f"{where}: url has a login in it: give username, and the secret in the environment or secret_file")


def topics(outlet: Outlet, survey: Survey) -> str:
    """Regular expression of the topics that an outlet reads; empty for one that is there to ask for follow-up by hand.

    Raises
    ------
    ConfigError
        It names none.
    """
    where = f"outlet '{outlet.name}'"
    patterns = [re.escape(f"fink_{name}_{survey.topic_suffix}") for name in outlet.filters]
    if outlet.topics:
        try:
            re.compile(outlet.topics)
        except re.error as error:
            raise ConfigError(f"{where}: topics is no regular expression: {error}") from error
        patterns.append(f"(?:{outlet.topics})")
    if not patterns and not outlet.asks_followup:
        raise ConfigError(f"{where}: give filters, or topics")
    return "|".join(patterns)
