"""What fink transfer does not take, in one line each, before anything is started."""

from __future__ import annotations

import pytest

from fink_broker.commands import transfer
from fink_broker.errors import UsageError


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ("", r"which night\?"),
        ("--to 20260322", r"which night\?"),
        ("--night 2026-03-22", "is not a night"),
        ("--night 20260322 --to 20260321", "--to 20260321 is before --night 20260322"),
        ("--night 20260322 --content some", "invalid choice"),
        ("--night 20260322 --content full --columns ra", "not allowed with"),
        ("--night 20260322 --radius 2", "--radius goes with --crossmatch FILE"),
        ("--crossmatch a.csv --ids who --ra x", "--ids matches by the objects' names"),
        ("--crossmatch a.csv --radius nan", "--radius is in arcsec"),
        ("--crossmatch a.csv --radius 0", "--radius is in arcsec"),
        ("--night 20260322 --output a.csv", "ends in .parquet"),
        ("--night 20260322 --output nowhere/a.parquet", "in a folder that is there"),
        ("--night 20260322 --output a.parquet --user me", "not allowed with"),
        ("--crossmatch a.csv", "cannot read a.csv"),
    ],
)
def test_wrong_command_lines(arguments, fault):
    with pytest.raises(UsageError, match=fault):
        transfer.main(arguments.split())
