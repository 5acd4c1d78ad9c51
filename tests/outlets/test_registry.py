"""Outlets of the configuration: what is wrong with one is said in one line; secrets stay secret."""

from __future__ import annotations

import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fink_broker import config, surveys
from fink_broker.commands.config import toml
from fink_broker.config import CHECKOUT, Settings
from fink_broker.errors import ConfigError
from fink_broker.outlets import Alert, Request
from fink_broker.outlets.registry import Way, kinds, ways

SECRET = "T000/B000/hunter2"
CHAT = {"name": "chat", "kind": "webhook", "filters": ["bright"], "url": "https://hooks.example.org/{secret}"}


def documented() -> tuple[str, dict[str, Any]]:
    """The adapter of one's own and its entry, as docs/outlets.md has them."""
    section = (CHECKOUT / "docs" / "outlets.md").read_text(encoding="utf-8").partition("## Your own")[2]
    [code], [entry] = (re.findall(rf"```{kind}\n(.*?)```", section, re.DOTALL) for kind in ("python", "toml"))
    [outlet] = tomllib.loads(entry)["outlets"]
    return code, outlet


def ready(*outlets: dict[str, Any], **secrets: str) -> list[Way]:
    settings = Settings.model_validate({"outlets": outlets, "secrets": secrets})
    return ways(settings, surveys.get(settings.survey))


def test_kinds():
    assert kinds() == ["email", "notice", "skyportal", "tom", "webhook"]


def test_topics_are_those_of_filters_and_what_matches():
    [way] = ready({**CHAT, "filters": ["bright", "new"], "topics": "fink_gr[bw]_.*|other"}, chat=SECRET)
    topics = ("fink_bright_ztf", "fink_new_ztf", "fink_grb_gold", "other")
    assert all(re.fullmatch(way.topics, topic) for topic in topics)
    assert not any(re.fullmatch(way.topics, topic) for topic in ("fink_bright_lsst", "fink_bright_ztf2", "another", "ztf_20260322"))
    assert way.group == "fink-outlet-chat"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "weebhook"}, "unknown kind 'weebhook'; known: email, notice, skyportal, tom, webhook, or a file"),
        ({"kind": "nowhere.py"}, "there is no file .*nowhere.py"),
        ({"filters": []}, "give filters, or topics"),
        ({"topics": "("}, "topics is no regular expression"),
        ({"url": "hooks.example.org"}, "url is no address for webhook: it begins with https://"),
        ({"url": "https://me:hunter2@example.org"}, "url has a login in it"),
        ({"url": "smtp://example.org"}, "url is no address for webhook"),
        ({"url": "{secret}"}, "the secret is no address for webhook"),
        ({"options": {"txt": ""}}, "options.txt: Extra inputs"),
        ({"options": {"text": "{nothing}"}}, "options: text: 'nothing' is not one of|options.text: text: 'nothing' is not one of"),
        ({"kind": "notice", "digest_minutes": 5}, "notice has no message for many alerts"),
        (
            {"kind": "email", "url": "smtp://h", "digest_minutes": 0, "options": {"to": ["a@b"], "sender": "a@b"}},
            "email has no message for a single alert",
        ),
        ({"kind": "email", "options": {"to": ["a@b"], "sender": "a@b"}}, "url is no address for email: it begins with smtps://"),
        ({"secret_file": "/nowhere"}, "secret_file: cannot read /nowhere"),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, Any], reason: str):
    secrets = {} if "secret_file" in change else {"chat": SECRET}
    with pytest.raises(ConfigError, match=f"^outlet 'chat': .*({reason})|^({reason})") as raised:
        ready({**CHAT, **change}, **secrets)
    assert "\n" not in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_names_are_unique_and_secrets_belong_to_outlets():
    with pytest.raises(ConfigError, match="two outlets are called 'chat'"):
        ready(CHAT, CHAT, chat=SECRET)
    with pytest.raises(ConfigError, match="there is no outlet 'chta'; outlets: chat"):
        ready(CHAT, chta=SECRET)
    with pytest.raises(ConfigError, match="no secret: set FINK_SECRETS__CHAT in the environment, or secret_file"):
        ready(CHAT)
    with pytest.raises(ConfigError, match="not one line of ASCII"):
        ready(CHAT, chat="one\ntwo")


def test_secrets_come_from_the_environment_or_a_file_and_show_nowhere(tmp_path: Path):
    file = tmp_path / "fink.conf"
    file.write_text('[[outlets]]\nname = "chat"\nkind = "webhook"\nfilters = ["bright"]\nurl = "https://h/{secret}"\n')
    variables = {"FINK_SECRETS__CHAT": "12345", "FINK_SURVEY": "ztf"}
    settings = config.load(str(file), variables)
    [way] = ways(settings, surveys.get("ztf"))
    assert way.filled(way.outlet.url) == "https://h/12345"
    assert way.masked("asked for https://h/12345 in vain") == "asked for https://h/*** in vain"
    for text in (repr(settings), str(settings), toml(settings.model_dump(mode="json")), repr(way), str(vars(way))):
        assert "12345" not in text
    # Kafka and HBase do not need it.
    assert config.without_secrets(variables) == {"FINK_SURVEY": "ztf"}
    (tmp_path / "token").write_text("67890\n")
    [way] = ready({**CHAT, "secret_file": tmp_path / "token"})
    assert way.filled("{secret}") == "67890"


def test_one_of_ones_own_is_a_file(tmp_path: Path):
    code, entry = documented()
    (tmp_path / "mine.py").write_text(code)
    mine = {**entry, "kind": str(tmp_path / "mine.py")}
    [way] = ready(mine, mine="abc")
    assert (way.authorization, way.summary, way.digest_s) == ("Bearer {secret}", None, 0)
    assert way.single is not None
    [request] = way.single(Alert("t", "7", datetime(2026, 3, 22, tzinfo=UTC), "ZTF26aaaaaaa", ra=1.0, dec=2.0, mag=18.5))
    assert request == Request({"name": "ZTF26aaaaaaa", "ra": 1.0, "dec": 2.0, "mag": 18.5, "colour": "blue"}, "/new")
    with pytest.raises(ConfigError, match=r"outlet 'mine': options.color: Extra inputs"):
        ready({**mine, "options": {"color": "blue"}})
