"""How server and key are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from star_client.client import StarClient
from star_client.connection import find_connection
from star_client.errors import NotAuthorised, Unreachable
from tests.star_client.recorded_platform import Platform


def test_url_and_key_are_those_of_the_platform_in_this_folder(
    server: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("STAR_URL", "STAR_API_KEY", "STAR_HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Unreachable, match="star serve"):
        StarClient()
    (tmp_path / ".star").mkdir()
    (tmp_path / ".star" / "url").write_text(server.url + "\n")
    (tmp_path / ".star" / "api-key").write_text(server.key + "\n")
    with StarClient() as star:
        assert star.models.list().data


def test_the_key_of_the_platform_here_is_sent_to_no_other_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAR_HOME", str(tmp_path))
    monkeypatch.delenv("STAR_API_KEY", raising=False)
    (tmp_path / "url").write_text("http://127.0.0.1:8000\n")
    (tmp_path / "api-key").write_text("star_secret\n")
    assert find_connection("http://127.0.0.1:8000", None).api_key == "star_secret"
    monkeypatch.setenv("STAR_URL", "https://elsewhere.example")
    with pytest.raises(NotAuthorised, match="STAR_API_KEY"):
        find_connection(None, None)
