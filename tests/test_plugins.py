"""Functions from the package or from a file of one's own."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from fink_broker.errors import ConfigError
from fink_broker.plugins import Reference, load_module


def write(folder: Path, text: str, name: str = "mine.py") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_of_a_module_and_of_a_file(tmp_path: Path):
    assert Reference("fink_broker.filters.ztf", "new_transients").arguments() == ("jd", "jdstarthist", "ndethist", "ssdistnr")
    mine = Reference(write(tmp_path, "def f(magpsf, cfid):\n    return magpsf + cfid\n"), "f")
    assert mine.arguments() == ("magpsf", "cfid")
    assert mine.load()(1, 2) == 3


def test_a_reference_travels_by_name(tmp_path: Path):
    mine = Reference(write(tmp_path, "def f(x):\n    return x\n"), "f")
    packed = pickle.dumps(mine)
    assert len(packed) < 400
    assert pickle.loads(packed).load() is mine.load()


def test_a_file_is_loaded_once_and_files_of_one_name_are_apart(tmp_path: Path):
    for folder, value in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder, f"loaded = []\nVALUE = {value}\ndef f():\n    loaded.append(1)\n    return VALUE, len(loaded)\n")
    one, two = (Reference(str(tmp_path / folder / "mine.py"), "f") for folder in ("a", "b"))
    assert one.load()() == (1, 1)
    assert one.load()() == (1, 2)
    assert two.load()() == (2, 1)
    assert load_module(one.source) is load_module(one.source)


def test_classes_of_a_file_can_be_pickled(tmp_path: Path):
    """Dataclasses look their module up by name."""
    text = "from __future__ import annotations\nfrom dataclasses import dataclass\n\n"
    text += "@dataclass\nclass P:\n    x: int\n\ndef f():\n    return P(3)\n"
    value = Reference(write(tmp_path, text), "f").load()()
    assert pickle.loads(pickle.dumps(value)) == value


@pytest.mark.parametrize(
    ("source", "function", "message"),
    [
        ("fink_broker.nowhere", "f", "fink_broker.nowhere does not import: ModuleNotFoundError"),
        ("fink_broker.filters.ztf", "nothing", "fink_broker.filters.ztf has no function 'nothing'"),
        ("fink_broker.filters.ztf", "SQL", "has no function 'SQL'"),
        ("/nowhere/mine.py", "f", "there is no file /nowhere/mine.py"),
    ],
)
def test_what_is_not_there_is_said(source: str, function: str, message: str):
    with pytest.raises(ConfigError, match=message):
        Reference(source, function).load()


@pytest.mark.parametrize(
    ("text", "fault"), [("1 / 0", "ZeroDivisionError: division by zero"), ("def f(:", "SyntaxError"), ("raise SystemExit", "SystemExit")]
)
def test_what_does_not_import_is_said(tmp_path: Path, text: str, fault: str):
    with pytest.raises(ConfigError, match=rf"mine.py(, line 1,)? does not import: {fault}"):
        Reference(write(tmp_path, text), "f").load()


def test_a_file_that_did_not_import_leaves_nothing_behind(tmp_path: Path):
    path = write(tmp_path, "import nowhere_at_all")
    for _ in range(2):
        with pytest.raises(ConfigError, match="nowhere_at_all"):
            load_module(path)
    Path(path).write_text("def f():\n    return 5\n")
    assert Reference(path, "f").load()() == 5
