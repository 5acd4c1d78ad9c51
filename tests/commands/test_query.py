"""fink query at the command line, for questions to Parquet files; those to HBase are in tests/integration."""

import json

import pyarrow.parquet as pq
import pytest
from astropy.table import Table

from fink_broker.commands import annotate, query
from fink_broker.config import Settings
from fink_broker.errors import UsageError
from tests.query.files import JD, alerts, committed, merged


@pytest.fixture
def ask(tmp_path, capsys):
    """Asks, and gives what was printed and what was said."""
    home = Settings(home=tmp_path / "a home")
    merged(home, "20260322", alerts(0, 300), [])
    committed(home, 0, "20260323", alerts(1_000, 1_050))
    conf = tmp_path / "fink.conf"
    conf.write_text(f'home = "{home.root}"\n', encoding="utf-8")

    def run(*arguments: str) -> tuple[str, str]:
        assert query.main([*arguments, "-c", str(conf)]) == 0
        said = capsys.readouterr()
        return said.out, said.err

    return run


def test_sql(ask):
    assert ask("sql", "select count(*) as n from science", "--format", "csv") == ('"n"\n300\n', "")
    assert json.loads(ask("sql", "select objectId from science limit 1", "--format", "json")[0]) == [{"objectId": "ZTF0"}]
    assert "Row Groups Scanned: 1 / 3" in ask("sql", "select candid from science where candid = 5", "--explain")[0]
    assert ask("sql", "select candid from science where candid < 0")[1] == "fink: nothing found\n"
    with pytest.raises(UsageError, match="the columns are those that the SQL selects"):
        ask("sql", "select 1", "--columns", "candid")


def test_nights_and_windows(ask, tmp_path):
    lines = ask("date", "20260322", "--columns", "candid,magpsf", "--limit", "3", "--no-family")[0].splitlines()
    assert [line.split() for line in lines] == [["candid", "magpsf"], ["0", "15.0"], ["1", "15.1"], ["2", "15.2"]]
    found = ask("date", "20260322", "--to", "20260323", "--format", "json", "--columns", "candid")[0]
    assert len(json.loads(found)) == 350
    window = ("date", "--since", str(JD + 0.0095), "--until", str(JD + 0.0125), "--columns", "candid")
    assert ask(*window)[0].split() == ["i:candid", "10", "11", "12"]
    ask(*window, "-o", str(tmp_path / "window.parquet"))
    assert pq.read_table(tmp_path / "window.parquet")["i:candid"].to_pylist() == [10, 11, 12]
    ask(*window, "-o", str(tmp_path / "window.vot"))
    assert Table.read(tmp_path / "window.vot", format="votable")["i_candid"].tolist() == [10, 11, 12]
    assert ask("date", "20200101", "--format", "csv", "-o", str(tmp_path / "none.csv"))[1] == "fink: nothing found\n"
    with pytest.raises(UsageError, match="which night"):
        ask("date")


def test_crossmatch(ask, tmp_path):
    (tmp_path / "mine.csv").write_text("name,ra,dec\nx,0.1,-89.9\ny,200,20\n", encoding="utf-8")
    found = json.loads(ask("crossmatch", str(tmp_path / "mine.csv"), "--radius", "2", "--columns", "candid", "--format", "json")[0])
    assert found == [{"i:candid": 10, "name": "x", "separation_arcsec": pytest.approx(0, abs=1e-6)}]


def test_what_is_not_understood_is_one_line(ask):
    for arguments, says in (
        (("nothing",), r"fink query object \| latest \| cone"),
        (("crossmatch", "x.csv", "--radius", "wide"), "'wide' is no angle: 5 or 5s is in arcsec"),
        (("date", "20261322"), "'20261322' is not a night"),
        (("sql", "select 1", "--format", "xls"), "invalid choice: 'xls'"),
    ):
        with pytest.raises(UsageError, match=says):
            ask(*arguments)


def test_an_annotation_needs_to_say_something_of_something():
    for arguments, says in (
        (["--kind", "comment"], "say which object, or give a list"),
        (["ZTF18a", "--tns", "x.csv"], "say which object, or give a list"),
        (["ZTF18a", "--kind", "comment", "--value", "x"], "needs --kind, --value and --who"),
    ):
        with pytest.raises(UsageError, match=says):
            annotate.main(arguments)
