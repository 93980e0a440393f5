"""A worker that ends when nothing is queued, as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from sqlalchemy import select

from app.database import reading
from app.tables.platform import Worker
from tests.app.api_harness import Api, addition_rows, serve
from tests.databases import PROJECT
from tests.factories import CONFIG, SCRIPT


def start(api: Api, idle_seconds: int) -> subprocess.Popen[str]:
    settings = {
        "STAR_HOME": str(api.settings.home),
        "STAR_DATABASE_URL": api.settings.database_url,
        "STAR_SAMPLER": "scripted",
        "STAR_SAMPLER_SCRIPT": SCRIPT,
        "STAR_SANDBOX": "off",
    }
    command = [sys.executable, "-m", "worker.until_idle", "--idle-seconds", str(idle_seconds)]
    return subprocess.Popen(
        command, cwd=PROJECT, env=os.environ | settings, stderr=subprocess.PIPE, text=True
    )


def workers(api: Api) -> list[str]:
    with reading(api.engine) as session:
        return list(session.scalars(select(Worker.id)))


def test_it_ends_a_job_without_a_broker_and_then_itself(sqlite_database_url: str, tmp_path: Path) -> None:
    with serve(sqlite_database_url, tmp_path / "home") as api:
        config = {name: value for name, value in CONFIG.items() if name != "kind"}
        job = api.job(dataset=api.dataset(addition_rows(24), validation=8)["id"], config=config)
        process = start(api, 1)
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
        assert api.client.get(f"/v1/jobs/{job['id']}").json()["status"] == "succeeded"
        assert workers(api) == []


def test_it_ends_when_it_is_told_to(sqlite_database_url: str, tmp_path: Path) -> None:
    with serve(sqlite_database_url, tmp_path / "home") as api:
        process = start(api, 3600)
        deadline = time.monotonic() + 120
        while not workers(api):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert workers(api) == []


def test_the_script_for_slurm_is_bash_and_starts_this_worker() -> None:
    script = PROJECT / "deploy" / "slurm" / "star-worker.sbatch"
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert "exec python -m worker.until_idle" in script.read_text()
