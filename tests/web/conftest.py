"""The dashboard of a broker with an empty home."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fink_broker.config import Settings
from tests.served import served


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(Settings(home=tmp_path_factory.mktemp("home"))) as where:
        yield where
