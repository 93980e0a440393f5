"""The services of docker-compose.yml as processes: its commands and health checks, word for word."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.databases import PROJECT, postgres_copy
from tests.factories import SCRIPT, make_world
from worker import supervised_process
from worker.valkey import free_port

STEADY = ("api", "scheduler", "gpu-worker", "gpu-worker-1", "model-server")
SETTLED = ("succeeded", "failed", "paused", "cancelled")
SIGTERM_STATUS = 128 + signal.SIGTERM  # uvicorn shuts down in order, then ends by the signal that it was sent


@pytest.fixture
def empty_postgres_database_url(postgres_url: str) -> Iterator[str]:
    with postgres_copy(postgres_url, template="template1") as url:
        yield url


@pytest.fixture
def environment(empty_postgres_database_url: str, empty_valkey_url: str, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "models.yaml").write_text("[]")
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "STAR_HOME": str(tmp_path / "home"),
        "STAR_DATABASE_URL": empty_postgres_database_url,
        "STAR_BROKER_URL": empty_valkey_url,
        "STAR_STORAGE_URL": str(tmp_path / "artifacts"),
        "STAR_MODELS_FILE": str(tmp_path / "models.yaml"),
        "STAR_SAMPLER": "scripted",
        "STAR_SAMPLER_SCRIPT": SCRIPT,
    }


def services() -> dict[str, Any]:
    """As written in the compose file, but for the ports that the API and the server of models listen on."""
    text = (PROJECT / "docker-compose.yml").read_text()
    for port in ("8000", "8100"):
        text = text.replace(port, str(free_port()))
    found: dict[str, Any] = yaml.safe_load(text)["services"]
    return found


def wait_until(condition: Callable[[], bool], logs: Path) -> None:
    deadline = time.monotonic() + 200
    while not condition():
        if time.monotonic() > deadline:
            tails = [f"{path.name}:\n{path.read_text()[-3000:]}" for path in logs.glob("*.log")]
            pytest.fail("The condition did not come true in time.\n" + "\n".join(tails))
        time.sleep(0.2)


def test_a_job_runs_on_the_processes_of_the_compose_file(environment: dict[str, str], tmp_path: Path) -> None:
    planned = services()
    serving = {"STAR_SERVING_PORT": planned["model-server"]["environment"]["STAR_SERVING_PORT"]}
    environment |= serving | {"STAR_SERVING": "transformers", "STAR_DEVICE": "cpu"}

    def run(command: list[str]) -> int:
        with (tmp_path / "checks.log").open("ab") as log:
            return subprocess.run(command, cwd=PROJECT, env=environment, stdout=log, stderr=log).returncode

    def healthy(name: str) -> bool:
        return run(planned[name]["healthcheck"]["test"][1:]) == 0

    assert run(planned["migrate"]["command"]) == 0
    world = make_world(
        environment["STAR_DATABASE_URL"], tmp_path / "home", storage_url=environment["STAR_STORAGE_URL"]
    )
    parts = {}
    with ExitStack() as stack:
        for name in STEADY:
            log = stack.enter_context((tmp_path / f"{name}.log").open("wb"))
            command = planned[name]["command"]
            own = environment | {"STAR_HOME": str(tmp_path / name)}  # as its volume is
            parts[name] = supervised_process.start(command, cwd=PROJECT, env=own, output=log, grace_s=60)
            stack.callback(supervised_process.stop, parts[name])
        job_id = world.submit(iterations=1)
        for name in STEADY:
            wait_until(partial(healthy, name), tmp_path)
        wait_until(lambda: world.job(job_id).status in SETTLED, tmp_path)
        job = world.job(job_id)
        assert job.status == "succeeded", job.status_reason
    statuses = {name: part.returncode for name, part in parts.items()}
    assert statuses.pop("api") in (0, SIGTERM_STATUS)
    assert {*statuses.values()} == {0}
