"""`star serve`, found by the commands that follow it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import httpx2
import pytest

from app.settings import Settings
from worker.embedded import _last_error
from worker.one_machine.own_folder import DEMO_MODELS, absolute_paths

STAR = [sys.executable, "-m", "star_client.cli.main"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


def test_serve_greets_its_person_with_a_link_that_works_once_and_commands_find_it(tmp_path: Path) -> None:
    """In a folder of the user's own, which holds an `app` that is none of the platform's."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STAR_")}
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").write_text("raise RuntimeError('not this one')")
    serve = [*STAR, "serve", "--port", str(free_port())]
    terminal, inside = os.openpty()
    with subprocess.Popen(
        serve, cwd=tmp_path, env=environment, stdout=inside, stderr=subprocess.DEVNULL
    ) as platform:
        os.close(inside)
        try:
            url_file = tmp_path / ".star" / "url"
            said = read_until(terminal, "Stop")
            link = re.search(r"http://\S+\?once=\S+", said)
            assert link, said
            assert f"Key       {tmp_path / '.star' / 'api-key'}" in said
            assert "Models    addition-tiny" in said
            with httpx2.Client() as browser:
                front = browser.get(url_file.read_text().strip(), follow_redirects=True)
                assert front.url.path == "/dashboard/sign-in", "the bare address leads to the dashboard"
                assert browser.get(link[0], follow_redirects=True).url.path == "/dashboard/jobs"
            with httpx2.Client() as another:
                again = another.get(link[0], follow_redirects=True)
                assert again.status_code == 401
                assert "This link has been used" in again.text
            command = [*STAR, "models", "list", "--json"]
            listed = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
            assert listed.returncode == 0, listed.stderr
            assert [json.loads(line)["id"] for line in listed.stdout.splitlines()] == ["addition-tiny"]
        finally:
            platform.send_signal(signal.SIGINT)
    os.close(terminal)
    assert platform.returncode == 0
    assert not (tmp_path / ".star" / "url").exists()
    assert not (tmp_path / ".star" / "sign-in-token").exists()


def read_until(terminal: int, word: str) -> str:
    """What is printed up to this word. Raises OSError where the program ends without it."""
    said = ""
    while word not in said:
        said += os.read(terminal, 4096).decode()
    return said


def test_a_model_that_cannot_be_used_is_said_at_once_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("- {id: mine, location: nowhere}")
    environment = os.environ | {"STAR_MODELS_FILE": "mine.yaml", "STAR_HOME": "home"}
    command = [*STAR, "serve", "--port", str(free_port())]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.returncode == 1
    assert f"model mine: there is no folder {tmp_path / 'nowhere'}." in ended.stderr
    assert "Traceback" not in ended.stderr
    assert (tmp_path / "home" / "star.db").exists(), "a relative folder is the user's own"


def test_paths_of_settings_are_the_users_and_urls_stay_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = Settings(models_file=Path("m.yaml"), database_url="sqlite:///my.db", storage_url="files")
    assert absolute_paths(mine) == {
        "STAR_HOME": str(tmp_path / ".star"),
        "STAR_MODELS_FILE": str(tmp_path / "m.yaml"),
        "STAR_DATABASE_URL": f"sqlite:///{tmp_path / 'my.db'}",
        "STAR_STORAGE_URL": str(tmp_path / "files"),
    }
    remote = Settings(database_url="postgresql+psycopg://db/star", storage_url="s3://bucket/star")
    assert absolute_paths(remote).keys() == {"STAR_HOME", "STAR_MODELS_FILE"}
    assert absolute_paths(remote)["STAR_MODELS_FILE"] == str(DEMO_MODELS)


def test_the_last_error_of_a_part_is_found_in_its_log() -> None:
    first = "Traceback (most recent call last):\n  File\nKeyError: 'old'\n"
    last = "INFO: on\nTraceback (most recent call last):\n  File\napp.BadFile: no such model\n\nERROR: gone\n"
    assert _last_error(first + last) == "app.BadFile: no such model"
    assert _last_error("INFO: all is well\n") is None


def test_the_version_is_printed() -> None:
    printed = subprocess.run([*STAR, "--version"], capture_output=True, text=True, check=True).stdout
    assert printed == f"star {version('star-service')}\n"
