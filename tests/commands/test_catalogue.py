"""fink catalogue."""

from __future__ import annotations

from pathlib import Path

import pytest

from fink_broker.catalogues import store
from fink_broker.commands.catalogue import main
from fink_broker.errors import UsageError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FINK__HOME", str(tmp_path / "a home"))
    (tmp_path / "stars.csv").write_text("name,RA,Dec,reach\nfirst,10,20,5\nsecond,,,1\nthird,30,40,7\n")
    return tmp_path / "a home"


def test_bring_in_list_and_remove(home, tmp_path, capsys):
    assert main(["add", "mine", str(tmp_path / "stars.csv"), "--radius", "reach", "--columns", "name"]) == 0
    line = f"mine                   2 rows  {tmp_path / 'stars.csv'}"
    assert capsys.readouterr().out == f"{line}; left out 1 rows without a position\n"
    catalogue = store.opened("mine", home)
    assert (catalogue.reach, catalogue.payload.column_names) == (7, ["name"])
    assert main(["list"]) == 0
    assert capsys.readouterr().out.splitlines() == ["gcvs              57,247 rows  comes with the broker", line]
    assert main(["remove", "mine"]) == 0
    assert store.names(home) == ["gcvs"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], r"fink catalogue install \| add \| list \| remove"),
        (["lst"], r"fink catalogue install \| add \| list \| remove"),
        (["add", "mine"], "the following arguments are required: file"),
        (["list", "--wheel", "x"], "unrecognized arguments: --wheel x"),
        (["install", "gaia"], "'gaia' is not one of the published catalogues"),
        (["remove", "gcvs"], "there is no catalogue 'gcvs' in .*a home"),
    ],
)
def test_what_does_not_do_is_said(arguments, message):
    with pytest.raises(UsageError, match=message):
        main(arguments)
