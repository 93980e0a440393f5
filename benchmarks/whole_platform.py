"""The whole platform as the benchmarks use it: started for them, driven over HTTP, read from its logs."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.baselines.task import DATASET, PROMPT_SET, Task
from star_client.client import StarClient
from worker import supervised_process
from worker.valkey import free_port

MODEL = "raced"
READY_SECONDS = 120.0


@dataclass(frozen=True)
class Platform:
    home: Path
    url: str

    def client(self, key: str | None = None) -> StarClient:
        return StarClient(self.url, key or (self.home / "api-key").read_text().strip())

    def worker_log(self) -> list[dict[str, Any]]:
        """Structured lines of the worker, their time in seconds as `at`."""
        lines = _json_lines(self.home / "logs" / "worker.log")
        return [line | {"at": datetime.fromisoformat(line["timestamp"]).timestamp()} for line in lines]

    def gpu_calls(self) -> list[dict[str, Any]]:
        """What the GPU process was asked to do, and when it did it: see worker/gpu/child.py."""
        logs = sorted((self.home / "worker").glob("gpu-*.log"))
        calls = [line for log in logs for line in _json_lines(log) if line.get("event") == "gpu_call"]
        return sorted(calls, key=lambda call: float(call["began"]))


@contextmanager
def platform(home: Path, task: Task, **variables: str) -> Iterator[Platform]:
    """API, scheduler, worker and Valkey, as `star serve` starts them, until the block ends."""
    home.mkdir(parents=True)
    models = home / "models.yaml"
    models.write_text(json.dumps([{"id": MODEL, "location": str(task.model.resolve())}]))
    environment = {
        **os.environ,
        "STAR_HOME": str(home),
        "STAR_MODELS_FILE": str(models),
        "STAR_SAMPLER": "vllm",
        "STAR_DEVICE": task.device,
        **variables,
    }
    command = [sys.executable, "-m", "worker.embedded", "--port", str(free_port())]
    with (home / "platform.log").open("wb") as log:
        process = supervised_process.start(command, env=environment, output=log, grace_s=60)
    try:
        deadline = time.monotonic() + READY_SECONDS
        while not (home / "url").exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"The platform did not start; see {home}.")
            time.sleep(0.05)
        yield Platform(home, (home / "url").read_text().strip())
    finally:
        supervised_process.stop(process)


@dataclass(frozen=True)
class Run:
    """One iteration as its user saw it, and what the logs say of it."""

    seconds: float  # from the request to the news of its end
    job_id: str
    accuracy: float
    tries: list[dict[str, Any]]  # id, route, text and tokens of every rationale
    steps: list[dict[str, Any]]  # step_started and step_ended lines of the worker
    calls: list[dict[str, Any]]  # of the GPU process


def run_iteration(running: Platform, task: Task, project: str) -> Run:
    """One job of one iteration in a project of its own: nothing that another one has answered is reused."""
    with running.client() as operator:
        owner = operator.projects.create(project).id
        key = operator.api_keys.create(project, project=owner).key
    with running.client(key) as star:
        given = json.loads((task.folder / PROMPT_SET).read_text())
        prompts = star.prompt_sets.create(name="race", **given)
        dataset = star.datasets.upload(task.folder / DATASET, kind=task.config.kind.value)
        settings = task.config.model_dump(mode="json", exclude={"kind"})
        began = time.time()
        job = star.jobs.create(model=MODEL, dataset=dataset.id, prompt_set=prompts.id, config=settings)
        events = [event.type for event in star.jobs.events(job.id)]
        seconds = time.time() - began
        job = star.jobs.get(job.id)
        if job.status != "succeeded":
            raise RuntimeError(
                f"The job ended as {job.status}: {job.status_reason}; last events {events[-3:]}"
            )
        found = list(star.rationales.every(job.id))
        accuracy = star.jobs.iterations(job.id)[-1].metrics.accuracy
    tries = [
        {"id": one.example.id, "route": one.route, "text": one.text, "tokens": one.tokens} for one in found
    ]
    steps = [line for line in running.worker_log() if line.get("job") == job.id]
    calls = [call for call in running.gpu_calls() if call["began"] >= began]
    return Run(seconds, job.id, accuracy or 0.0, tries, steps, calls)


def _json_lines(path: Path) -> list[dict[str, Any]]:
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.startswith("{")]
