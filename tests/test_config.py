"""The configuration: defaults, file, environment; mistakes in one line; secrets that stay secret."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from fink_broker.commands import config as command
from fink_broker.config import CHECKOUT, DEFAULT_CONF, Settings, conf_path, from_environment, load, without_secrets
from fink_broker.errors import ConfigError

SECRET = "hunter2-and-more"


@pytest.fixture
def conf(tmp_path: Path):
    """Writes a configuration and returns its path."""

    def write(text: str) -> str:
        path = tmp_path / "fink.conf"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def flat(values: dict[str, Any], path: str = "") -> dict[str, Any]:
    found = {}
    for key, value in values.items():
        name = f"{path}.{key}" if path else key
        found |= flat(value, name) if isinstance(value, dict) and value else {name: value}
    return found


def test_the_file_says_every_key_with_its_default():
    written = flat(tomllib.loads(DEFAULT_CONF.read_text(encoding="utf-8")))
    defaults = flat(Settings().model_dump(mode="json"))
    # Secrets do not belong in the file; what is one's own is shown as a comment.
    files = ("password", "password_file", "ca_file", "certificate_file", "key_file", "key_password", "key_password_file")
    secret = {f"{end}.{key}" for end in ("kafka.input", "kafka.output", "kafka.embedded", "mirror", "notices") for key in files}
    own = {"services", "science.modules", "filters", "raw2science.cuts", "watchlists", "regions", "skymaps", "notices.folder", "hbase.site"}
    own |= {"distribution.public", "audiences"}
    own |= {"outlets", "secrets", "dashboard.token", "dashboard.token_file"}
    assert written.keys() == defaults.keys() - secret - own
    assert written == {key: defaults[key] for key in written}
    assert load(str(DEFAULT_CONF), {}) == Settings()


@pytest.mark.parametrize("path", sorted((CHECKOUT / "conf").glob("*.conf")), ids=lambda path: path.name)
def test_every_configuration_that_comes_with_it_is_sound(path: Path):
    assert isinstance(load(str(path), {}), Settings)


@pytest.mark.parametrize(
    ("variable", "value", "key", "expected"),
    [
        ("FINK__HOME", "/data/fink", "home", "/data/fink"),
        ("FINK_SURVEY", "rubin", "survey", "rubin"),
        ("FINK_KAFKA__INPUT__SERVERS", "one:9092,two:9092", "kafka.input.servers", "one:9092,two:9092"),
        ("FINK_KAFKA__INPUT__USERNAME", "12345", "kafka.input.username", "12345"),
        ("FINK_KAFKA__EMBEDDED__PORT", "0", "kafka.embedded.port", 0),
        ("FINK_STREAM2RAW__TRIGGER_SECONDS", "0.5", "stream2raw.trigger_seconds", 0.5),
        ("FINK_DISTRIBUTION__FILTERS", '["bright"]', "distribution.filters", ["bright"]),
        ("FINK_SIMULATOR__SCHEMA_VERSION", "4.01", "simulator.schema_version", "4.01"),
        ("FINK_SPARK__CONF", '{ "spark.ui.enabled" = "true" }', "spark.conf.spark.ui.enabled", "true"),
    ],
)
def test_environment_wins_over_the_file(conf, variable: str, value: str, key: str, expected: Any):
    path = conf(
        'home = "elsewhere"\nsurvey = "ztf"\n[kafka.input]\nservers = "file:1"\ntopics = "kept"\n[stream2raw]\ntrigger_seconds = 7\n'
    )
    loaded = flat(load(path, {variable: value}).model_dump(mode="json"))
    assert loaded[key] == expected
    assert loaded["kafka.input.topics"] == "kept"


def test_variables_of_the_launcher_are_no_keys():
    names = ("FINK_HOME", "FINK_CONF", "FINK_SETUP", "FINK_PYTHON", "FINK_MAVEN", "FINKLE", "PATH")
    assert from_environment(dict.fromkeys(names, "x")) == {}


@pytest.mark.parametrize(
    ("text", "environ", "message"),
    [
        ("homes = 1", {}, "unknown key 'homes', did you mean 'home'?"),
        ("[kafka.input]\nserver = 'x'", {}, "unknown key 'kafka.input.server', did you mean 'servers'?"),
        ("[[filters]]\nname = 'a'\nsqll = 'true'", {}, "unknown key 'filters.0.sqll', did you mean 'sql'?"),
        ("zzzzzz = 1", {}, "unknown key 'zzzzzz'; fink config show lists the known keys"),
        ("", {"FINK_KAFKA__INPUT__TOPIC": "x"}, "unknown key 'kafka.input.topic', did you mean 'topics'?"),
        ("", {"FINK_STREAM2RAW__TRIGGER_SECOND": "1"}, "did you mean 'trigger_seconds'?"),
        ("a = 1\nb = 2", {}, "(and 1 more)"),
        ("[stream2raw]\ntrigger_seconds = 0", {}, "stream2raw.trigger_seconds: Input should be greater than 0"),
        ("[archive]\nmax_files_per_trigger = 'many'", {}, "archive.max_files_per_trigger: "),
        ("[kafka.embedded]\nport = 70000", {}, "kafka.embedded.port: Input should be less than or equal to 65535"),
        ("[kafka.input]\nsecurity_protocol = 'TELNET'", {}, "kafka.input.security_protocol: Input should be 'PLAINTEXT'"),
        ("[kafka.input]\nservers = 'a:1'\nsecurity_protocol = 'SASL_SSL'", {}, "kafka.input: SASL_SSL needs username, and password_file"),
        ("[kafka.input]\nsecurity_protocol = 'SASL_SSL'\nusername = 'me'", {}, "the environment variable FINK_KAFKA__INPUT__PASSWORD"),
        ("[kafka.output]\nservers = 'a:1'\nsecurity_protocol = 'SSL'\nkey_file = 'x'", {}, "certificate_file and key_file go together"),
        ("[kafka.embedded]\nusername = ''", {}, "kafka.embedded.username: "),
        ("[[services]]\nname = 'Not A Name'\nfile = 'x.py'", {}, "services.0.name: "),
        ("kafka = 3", {}, "kafka: "),
        ("home = ", {}, "is not valid TOML: "),
    ],
)
def test_mistakes_are_one_line_that_names_the_key(conf, text: str, environ: dict[str, str], message: str):
    path = conf(text)
    with pytest.raises(ConfigError) as raised:
        load(path, environ)
    line = str(raised.value)
    assert message in line
    # Where the fault is: the variable, or the file.
    assert next(iter(environ), path) in line
    assert "\n" not in line
    assert raised.value.exit_code == 2


def test_a_file_that_is_not_there_or_not_text(conf, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"cannot read the configuration .*missing.conf: No such file"):
        load(str(tmp_path / "missing.conf"), {})
    path = Path(conf(""))
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not valid TOML"):
        load(str(path), {})


def test_which_file(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("FINK_CONF", raising=False)
    assert conf_path() == DEFAULT_CONF
    monkeypatch.setenv("FINK_CONF", "/etc/fink.conf")
    assert conf_path() == Path("/etc/fink.conf")
    assert conf_path("mine.conf") == Path("mine.conf")


def test_folders_are_below_the_home(tmp_path: Path):
    settings = Settings(home=tmp_path)
    assert settings.raw == tmp_path / "data" / "raw"
    assert settings.science == tmp_path / "data" / "science"
    assert settings.archive_folder == tmp_path / "data" / "archive"
    assert settings.checkpoint("archive") == tmp_path / "checkpoints" / "archive"
    assert settings.log("kafka") == tmp_path / "log" / "kafka.log"
    assert settings.run == tmp_path / "run"
    assert Settings(home=Path("some/where")).root == CHECKOUT / "some/where"
    assert Settings(home=Path("~/fink")).root == Path.home() / "fink"


def test_settings_do_not_change():
    with pytest.raises(ValidationError):
        Settings().survey = "rubin"


def test_secrets_are_read_and_never_shown(conf, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("FINK_KAFKA__INPUT__PASSWORD", SECRET)
    path = conf("")
    settings = load(path)
    assert settings.kafka.input.password.get_secret_value() == SECRET
    shown = [repr(settings), str(settings), f"{settings.kafka!r}", settings.model_dump_json(), json.dumps(settings.model_dump(mode="json"))]
    assert command.main(["show", "-c", path]) == 0
    shown.append(capsys.readouterr().out)
    for text in shown:
        assert SECRET not in text
        assert "****" in text


def test_programs_that_need_no_secret_are_not_given_any():
    secrets = dict.fromkeys(("FINK_KAFKA__INPUT__PASSWORD", "FINK_KAFKA__OUTPUT__KEY_PASSWORD", "FINK_KAFKA__EMBEDDED__PASSWORD"), SECRET)
    chats = dict.fromkeys(("KNWEBHOOK", "KNWEBHOOK_AMA_CL", "FINK_TG_TOKEN", "ANOMALY_SLACK_TOKEN", "EARLY_TDE_TG_TOKEN"), SECRET)
    others = {"FINK_KAFKA__INPUT__USERNAME": "me", "FINK_HOME": "/x", "PATH": "/bin", "FINK_NO__SUCH": "key"}
    others |= {"HADOOP_TOKEN_FILE_LOCATION": "/t", "AWS_SESSION_TOKEN": "a", "FINK_NO__TOKEN_URL": "u"}
    assert without_secrets(secrets | chats | others) == others


def test_the_token_of_a_published_filter_is_no_key(conf):
    assert load(conf(""), {"FINK_TG_TOKEN": SECRET}) == load(conf(""), {})


def test_a_wrong_secret_is_not_shown_either(conf):
    with pytest.raises(ConfigError) as raised:
        load(conf(f'[kafka.input]\npassword = ["{SECRET}"]'), {})
    assert SECRET not in str(raised.value)
    with pytest.raises(ConfigError) as raised:
        load(conf(f'[kafka.input]\nsecurity_protocol = "SASL_SSL"\nservers = "a:1"\npassword = "{SECRET}"'), {})
    assert SECRET not in str(raised.value)
    with pytest.raises(ConfigError) as raised:
        load(conf(f'[kafka.input]\npassword = "{SECRET}'), {})
    assert SECRET not in str(raised.value)
