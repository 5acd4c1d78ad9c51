"""Which filters are in use: the configuration, a folder, and the published ones; what is wrong with those that are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fink_broker.config import Settings
from fink_broker.errors import ConfigError
from fink_broker.filters import Filter, registry
from fink_broker.filters.known import Known
from fink_broker.infra import environments
from fink_broker.surveys import get

SURVEY = get("ztf")
PACKAGE = {
    "ztf/livestream/filter_one/filter.py": "def helper(x):\n    return x\n\ndef one(magpsf):\n    return magpsf > 1\n",
    "ztf/livestream/filter_two/filter.py": "import no_such_package\n\ndef two(magpsf):\n    return magpsf > 1\n",
    "ztf/blocks.py": "def b_good(rb):\n    return rb > 0.9\n\ndef extract_(x):\n    return x\n",
}


@pytest.fixture
def home(tmp_path: Path) -> Callable[..., Settings]:
    """Settings of a home with these files in its folder of filters, and in use what is named."""

    def make(files: dict[str, str] | None = None, use: tuple[str, ...] = (), **more: Any) -> Settings:
        for name, text in (files or {}).items():
            file = tmp_path / "filters" / name
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
        return Settings.model_validate({"home": tmp_path, "distribution": {"filters": list(use)}, **more})

    return make


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package fink-filters of two filters and a block, in the broker's own environment."""
    for name, text in PACKAGE.items():
        file = tmp_path / "site" / "fink_filters" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (tmp_path / "site" / "fink_filters" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    # The process that functions are described in.
    variables = environments.variables()
    monkeypatch.setattr(environments, "variables", lambda: variables | {"PYTHONPATH": f"{tmp_path / 'site'}:{variables['PYTHONPATH']}"})


def names(filters: list[Filter]) -> list[str]:
    return [one.name for one in filters]


def test_the_folder_is_in_use_without_being_named(home):
    settings = home(
        {
            "mine.py": "def mine(magpsf, cfid):\n    return magpsf > 1\n",
            "sql.toml": 'first = "rb > 0.9"\nsecond = "rising and candidate.rb > 0.5"\n',
            "test_mine.py": "raise ValueError",
            ".mine.py.swp": "",
            "notes.txt": "",
        },
        use=("bright",),
    )
    found = registry.active(settings, SURVEY)
    assert names(found) == ["bright", "mine", "first", "second"]
    assert found[1].inputs == ("magpsf", "cfid")
    assert found[1].reference is not None
    assert found[1].reference.text.startswith("def mine")
    assert names(list(found[3].uses)) == ["rising"]
    assert found[3].origin == f"{settings.filter_folder / 'sql.toml'}, line 2"


def test_no_folder_and_an_empty_one_have_no_filters(home):
    settings = home()
    assert registry.active(settings, SURVEY) == []
    settings.filter_folder.mkdir()
    assert registry.active(settings, SURVEY) == []


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("mine.py", "def mine(:\n", r"mine\.py, line 1, does not import: SyntaxError"),
        ("mine.py", "import pandas\n\n1 / 0\n", r"mine\.py, line 3, does not import: ZeroDivisionError"),
        ("mine.py", "def other(magpsf):\n    return magpsf\n", r"mine\.py has no function 'mine'"),
        ("mine.py", "import os\nos._exit(0)\n", r"mine\.py ends the process that imports it"),
        ("Mine.py", "def Mine(magpsf):\n    return magpsf\n", r"Mine\.py: 'Mine' is no name for a filter"),
        ("sql.toml", 'good = "true"\n\nbad = 3\n', r"sql\.toml, line 3: 'bad' is no text of SQL"),
        ("sql.toml", 'good = "true\n', r"sql\.toml is not valid TOML: .* line 1"),
        ("sql.toml", 'Bad = "true"\n', r"sql\.toml, line 1: 'Bad' is no name for a filter"),
        ("sql.toml", 'bright = "true"\n', r"sql\.toml, line 1\): there is a filter 'bright' already, in the configuration"),
    ],
)
def test_what_is_wrong_is_said_with_its_file_and_line(home, file: str, text: str, message: str):
    with pytest.raises(ConfigError, match=message) as raised:
        registry.active(home({file: text}, use=("bright",)), SURVEY)
    assert "\n" not in str(raised.value)


def test_filters_that_name_each_other(home):
    entries = [{"name": "a", "sql": "b and true"}, {"name": "b", "sql": "a or false"}]
    with pytest.raises(ConfigError, match="the filter 'b' names itself: a -> b -> a"):
        registry.active(home(use=("a",), filters=entries), SURVEY)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"distribution": {"filters": ["bright", "bright"]}}, "there is a filter 'bright' already"),
        ({"filters": [{"name": "a", "sql": "true"}, {"name": "a", "sql": "false"}]}, "there are two filters 'a'"),
        ({"distribution": {"filters": ["fink.blazar"]}}, r"the filter 'fink\.blazar': fink-filters is not there \(fink science install"),
        ({"filters": [{"name": "a", "function": "fink_broker.filters.ztf:rising", "constants": {"x": 1}}]}, "no constant 'x'"),
    ],
)
def test_wrong_entries(home, values: dict[str, Any], message: str):
    values.setdefault("distribution", {"filters": [one["name"] for one in values.get("filters", [])]})
    with pytest.raises(ConfigError, match=message):
        registry.active(home(**values), SURVEY)


def test_columns_and_constants_of_an_entry(home):
    entry = {"name": "a", "function": "fink_broker.filters.ztf:rising", "columns": ["cmagpsf"], "constants": {"cfid": 1}}
    [found] = registry.active(home(use=("a",), filters=[entry]), SURVEY)
    assert (found.inputs, found.constants) == (("cmagpsf",), {"cfid": 1})


def test_of_what_breaks_the_last_good_version_stays(home):
    settings = home({"mine.py": "def mine(magpsf):\n    return magpsf > 1\n", "sql.toml": 'first = "true"\n'})
    good = registry.gather(registry.sources(settings, SURVEY))
    assert good.faults == {}
    (settings.filter_folder / "mine.py").write_text("def mine(")
    (settings.filter_folder / "sql.toml").write_text('second = "true"\n')
    again = registry.gather(registry.sources(settings, SURVEY), good.sources)
    assert list(again.faults) == [str(settings.filter_folder / "mine.py")]
    assert names(again.filters) == ["mine", "second"]
    assert again.filters[0] == good.filters[0]
    (settings.filter_folder / "mine.py").unlink()
    assert names(registry.gather(registry.sources(settings, SURVEY), again.sources).filters) == ["second"]


@pytest.mark.usefixtures("package")
def test_published_filters_are_found_and_what_cannot_run_is_left_out(home):
    known = Known(home(), SURVEY)
    assert known.published == ["fink.one", "fink.two"]
    with pytest.raises(ConfigError, match=r"the filter 'two': .*No module named 'no_such_package'"):
        known.filter("fink.two")
    [one] = registry.active(home(use=("fink.*",)), SURVEY)
    assert (one.name, one.inputs, one.optional) == ("one", ("magpsf",), True)
    assert one.topic(SURVEY) == "fink_one_ztf"
    [one] = registry.active(home(use=("fink.one",)), SURVEY)
    assert not one.optional


@pytest.mark.usefixtures("package")
def test_sql_names_building_blocks_and_published_filters(home):
    settings = home({"sql.toml": "mine = \"b_good and not one and objectId != 'b_good' and b_good.x is null\"\n"})
    [mine] = registry.active(settings, SURVEY)
    assert {one.name: one.inputs for one in mine.uses} == {"b_good": ("rb",), "one": ("magpsf",)}
