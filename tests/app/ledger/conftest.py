from __future__ import annotations

from pathlib import Path

import pytest

from tests.factories import World, make_world


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> World:
    return make_world(database_url, tmp_path / "home", max_attempts=2)
