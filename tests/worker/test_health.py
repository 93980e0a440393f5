from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.databases import PROJECT
from worker.valkey import free_port


def health(**settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "worker.health"]
    return subprocess.run(command, cwd=PROJECT, env=os.environ | settings, capture_output=True, text=True)


def test_healthy_where_database_and_broker_answer(database_url: str, valkey_url: str) -> None:
    run = health(STAR_DATABASE_URL=database_url, STAR_BROKER_URL=valkey_url)
    assert (run.returncode, run.stderr) == (0, "")


def test_names_each_service_that_does_not_answer_and_no_password(tmp_path: Path) -> None:
    unmigrated = f"sqlite:///{tmp_path / 'empty.db'}"
    run = health(STAR_DATABASE_URL=unmigrated, STAR_BROKER_URL=f"redis://:hunter2@127.0.0.1:{free_port()}/0")
    assert run.returncode == 1
    assert "STAR_DATABASE_URL" in run.stderr
    assert "STAR_BROKER_URL" in run.stderr
    assert "hunter2" not in run.stderr
