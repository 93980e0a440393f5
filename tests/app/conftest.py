from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.api_harness import Api, serve


@pytest.fixture
def api(database_url: str, tmp_path: Path) -> Iterator[Api]:
    """The application on SQLite and again on PostgreSQL."""
    with serve(database_url, tmp_path / "home") as running:
        yield running


@pytest.fixture
def sqlite_api(sqlite_database_url: str, tmp_path: Path) -> Iterator[Api]:
    """For tests of what no database has a part in."""
    with serve(sqlite_database_url, tmp_path / "home") as running:
        yield running
