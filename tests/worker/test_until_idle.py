"""A worker that ends when nothing is queued, as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from sqlalchemy import select

from app.database import reading
from app.settings import Settings
from app.tables.platform import Worker
from tests.app.api_harness import Api, addition_rows, serve
from tests.databases import PROJECT
from tests.factories import CONFIG, SCRIPT, make_world


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


def test_the_task_for_skypilot_is_one_and_starts_this_worker() -> None:
    """Its fields and what they hold, as SkyPilot 0.14's own schema of a task has them."""
    task = yaml.safe_load((PROJECT / "deploy" / "skypilot" / "star-worker.yaml").read_text())
    assert task.keys() <= {"name", "resources", "workdir", "envs", "file_mounts", "setup", "run"}
    assert task["resources"].keys() <= {"accelerators", "use_spot", "disk_size"}
    assert all(isinstance(value, str) for value in task["envs"].values())
    for script in (task["setup"], task["run"]):
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    assert "exec .venv/bin/python -m worker.until_idle" in task["run"]
    known = {f"STAR_{name.upper()}" for name in Settings.model_fields}
    assert {name for name in task["envs"] if name.startswith("STAR_")} <= known
    assert {*re.findall(r"STAR_\w+", task["run"])} <= known
    target = re.search(r"^make GPU=1 (\S+)$", task["setup"], re.MULTILINE)
    assert target is not None
    assert f"\n{target[1]}:" in (PROJECT / "Makefile").read_text()


def test_a_worker_sticks_to_its_model_for_a_while_after_it_was_loaded(
    sqlite_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = make_world(sqlite_database_url, tmp_path / "home").worker_context()
    assert not worker.sticks(), "it holds none"
    worker.warm_model = "pupil"
    assert worker.sticks()
    monkeypatch.setattr("worker.context.STICK_SECONDS", 0.0)
    assert not worker.sticks()
