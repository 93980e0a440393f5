from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.factories import World, make_world

QUICK: dict[str, Any] = {
    "lease_seconds": 3.0,
    "heartbeat_seconds": 1.0,
    "scheduler_seconds": 0.2,
    "redispatch_seconds": 2.0,
    "retry_seconds": 0.2,
    "record_batch": 2,
    "max_attempts": 10,  # on a busy machine a lease of 3 s runs out without any fault as well
}


def quick_world(database_url: str, home: Path, **settings: Any) -> World:
    """A world whose lost leases are noticed within seconds."""
    return make_world(database_url, home, **{**QUICK, **settings})


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> World:
    return quick_world(database_url, tmp_path / "home")


@pytest.fixture
def sqlite_world(sqlite_database_url: str, tmp_path: Path) -> World:
    return quick_world(sqlite_database_url, tmp_path / "home")


@pytest.fixture
def postgresql_world(postgresql_database_url: str, tmp_path: Path) -> World:
    return quick_world(postgresql_database_url, tmp_path / "home")
