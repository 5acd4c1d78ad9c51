"""Templates and, where it is there, the shared data."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from datasim import TEMPLATES
from fink_broker.config import CHECKOUT


@pytest.fixture(scope="session")
def templates() -> list[dict[str, Any]]:
    return pq.read_table(TEMPLATES).to_pylist()


@pytest.fixture(scope="session")
def shared() -> Path:
    folder = CHECKOUT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real packets of all schema versions: {folder} is missing")
    return folder
