"""fink config show and check."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from fink_broker import config
from fink_broker.commands.config import check, main, toml
from fink_broker.config import Settings
from fink_broker.errors import ConfigError, UsageError


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("FINK_CONF", raising=False)


def write(folder: Path, text: str) -> str:
    path = folder / "my fink.conf"
    path.write_text(text, encoding="utf-8")
    return str(path)


FULL = """
home = "/tmp/a home \\"quoted\\" \\\\ ü"
[spark.conf]
"spark.ui.enabled" = "true"
[raw2science]
modules = ["mine"]
cuts = { deep = "candidate.rb >= 0.9" }
[distribution]
filters = ["a", "b"]
[science]
environment = "ztf"
[[science.modules]]
name = "mine"
function = "mine.py:really"
constants = { radius = 1.5, catalogue = "x y" }
columns = ["ra", "dec"]
[[filters]]
name = "a"
sql = "candidate.magpsf < 14 and objectId != 'x\\ty'"
[[filters]]
name = "b"
file = "b.py"
function = "really"
[[services]]
name = "counter"
file = "counter.py"
"""


@pytest.mark.parametrize("text", ["", FULL])
def test_what_is_shown_can_be_read_again(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str):
    path = write(tmp_path, text)
    assert main(["show", "-c", path]) == 0
    shown = capsys.readouterr().out
    first, *_ = shown.splitlines()
    assert first.startswith(f"# {path}, defaults and the environment; home is /")
    settings = config.load(path)
    assert Settings.model_validate(tomllib.loads(shown)).model_dump(mode="json") == settings.model_dump(mode="json")


def test_toml_of_nested_values():
    values = {
        "a": 1,
        "none": None,
        "list": [1, 2],
        "b": {"c": {"d": True}, "empty": {}},
        "a key": {"d.e": "f"},
        "tables": [{"x": 1}, {"y": "z"}],
    }
    assert tomllib.loads(toml(values)) == {key: value for key, value in values.items() if key != "none"}


def test_check_of_the_default(capsys: pytest.CaptureFixture[str]):
    assert main(["check"]) == 0
    assert capsys.readouterr().out.startswith(f"{config.DEFAULT_CONF} is sound; home is ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("survey = 'sdss'", "unknown survey 'sdss'; known: rubin, ztf"),
        ("[raw2science]\nmodules = ['gcv']", "unknown science module 'gcv', did you mean 'gcvs'"),
        (
            "[[science.modules]]\nname = 'mine'\nfunction = '/nowhere/mine.py'",
            "the science module 'mine': there is no file /nowhere/mine.py",
        ),
        ("[raw2science]\ncuts = { x = 'upper(objectId)' }", "'upper(objectId)' cannot be counted"),
        ("[distribution]\nfilters = ['brigth']", "unknown filter 'brigth', did you mean 'bright'"),
        ("[[services]]\nname = 'mine'\nfile = '/nowhere/mine.py'", "there is no file /nowhere/mine.py"),
        ("[[filters]]\nname = 'mine'\n[distribution]\nfilters = ['mine']", "the filter 'mine' needs either sql or file"),
        (
            "[kafka.output]\nservers = 'a:1'\nsecurity_protocol = 'SSL'\nca_file = '/nowhere/ca.pem'",
            "[kafka.output] ca_file: cannot read /nowhere/ca.pem: No such file or directory",
        ),
        ("hom = 1", "unknown key 'hom', did you mean 'home'?"),
    ],
)
def test_check_finds_what_is_not_there(tmp_path: Path, text: str, message: str):
    with pytest.raises(ConfigError) as raised:
        main(["check", "-c", write(tmp_path, text)])
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def start(context:\n", "does not import: SyntaxError"),
        ("import not_there_at_all\n", "does not import: ModuleNotFoundError"),
        ("def begin(context): ...\n", "has no function 'start'"),
    ],
)
def test_check_of_a_service_of_ones_own(tmp_path: Path, source: str, message: str):
    (tmp_path / "mine.py").write_text(source)
    with pytest.raises(ConfigError, match=message):
        main(["check", "-c", write(tmp_path, f"[[services]]\nname = 'mine'\nfile = '{tmp_path}/mine.py'")])
    (tmp_path / "sound.py").write_text("def start(context):\n    return None\n")
    sound = config.load(write(tmp_path, f"[[services]]\nname = 'sound'\nfile = '{tmp_path}/sound.py'"))
    check(sound)


@pytest.mark.parametrize("argv", [[], ["print"], ["show", "--unknown"]])
def test_wrong_usage(argv: list[str]):
    with pytest.raises(UsageError):
        main(argv)
