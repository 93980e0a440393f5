from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from star_client.cli.main import main
from star_client.client import StarClient
from tests.star_client.recorded_platform import Platform, platform


@pytest.fixture
def server(sqlite_database_url: str, tmp_path: Path) -> Iterator[Platform]:
    """A platform of this test alone, without jobs."""
    home = tmp_path / "home"
    home.mkdir()
    with platform(sqlite_database_url, home) as running:
        yield running


@pytest.fixture
def star(server: Platform) -> Iterator[StarClient]:
    with server.client() as client:
        yield client


@dataclass(frozen=True)
class Finished:
    server: Platform
    star: StarClient
    job_id: str


@pytest.fixture(scope="session")
def finished_job(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    """A platform on which one job of two iterations has succeeded."""
    folder = tmp_path_factory.mktemp("finished")
    home = folder / "home"
    home.mkdir()
    url = f"sqlite:///{shutil.copy(sqlite_template, folder / 'star.db')}"
    with platform(url, home) as running, running.client() as client:
        job_id = running.submit(folder)
        running.work()
        yield Finished(running, client, job_id)


@pytest.fixture
def finished(finished_job: Finished) -> Finished:
    """The same for all tests, on a wire without faults."""
    finished_job.server.wire.faults.clear()
    finished_job.server.wire.requests.clear()
    return finished_job


@dataclass(frozen=True)
class Result:
    status: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """What --json printed."""
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `star` in this process, against a platform."""

    def run_star(server: Platform | None, *arguments: object) -> Result:
        if server is not None:
            monkeypatch.setenv("STAR_URL", server.url)
            monkeypatch.setenv("STAR_API_KEY", server.key)
        monkeypatch.setattr(sys, "argv", ["star", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Result(int(ended.value.code or 0), captured.out, captured.err)

    return run_star
