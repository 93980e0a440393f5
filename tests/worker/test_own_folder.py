"""Paths of the settings are those of the folder in which `star serve` was started."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.settings import Settings
from worker.one_machine.own_folder import absolute_paths


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///x.db", "sqlite:///{here}/x.db"),
        ("sqlite+pysqlite:///x.db?timeout=3", "sqlite+pysqlite:///{here}/x.db?timeout=3"),
        ("sqlite:////a/x.db", None),
        ("sqlite:///:memory:", None),
        ("sqlite:///", None),
        ("sqlite:///file:x.db?uri=true", None),
        ("postgresql+psycopg://u:p%40ss@h/d", None),
    ],
)
def test_the_path_of_a_database_is_made_absolute_and_the_rest_of_its_url_stays(
    url: str, expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = absolute_paths(Settings(database_url=url, storage_url="files"))
    assert found.get("STAR_DATABASE_URL") == (expected and expected.format(here=tmp_path))
    assert found["STAR_STORAGE_URL"] == str(tmp_path / "files")
