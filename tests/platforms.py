"""The platform's real processes for tests: Celery workers and schedulers on a real broker and database."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from app.settings import Settings
from tests.databases import PROJECT
from tests.factories import World
from worker import supervised_process
from worker.embedded import CELERY

# In the environment of every process of a test, so that survivors can be found. Not STAR_...: the GPU process
# inherits none of those.
MARK = "UNDER_TEST_HOME"
WORKER = (*CELERY,)


def wait_until(true: Callable[[], object], what: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)


class Platform:
    """Starts processes for one world; every one of them is gone when the test ends."""

    def __init__(self, world: World, broker_url: str) -> None:
        self.world = world
        self.home = world.settings.home
        self.broker_url = broker_url
        self.logs = self.home / "logs"
        self.logs.mkdir(exist_ok=True)
        self.code = PROJECT  # what is started from here on runs this version of the project
        self.parts: dict[str, subprocess.Popen[bytes]] = {}

    def worker(self, name: str = "worker", command: tuple[str, ...] = WORKER, **variables: str) -> str:
        """A Celery worker with a folder of its own, as on a machine of its own; returns its name."""
        return self._start(name, command, 30, STAR_HOME=str(self.home / name), **variables)

    def scheduler(self, name: str = "scheduler", **variables: str) -> str:
        return self._start(name, ("-m", "worker.scheduler"), 10, **variables)

    def api(self, name: str, port: int, **variables: str) -> str:
        command = ("-m", "app.server", "--port", str(port))
        return self._start(name, command, 10, **variables)

    def _start(self, name: str, command: tuple[str, ...], grace_s: float, **variables: str) -> str:
        settings = self.world.settings
        environment = {
            **os.environ,
            **as_environment(settings),
            "STAR_DATABASE_URL": settings.resolved_database_url(),
            "STAR_STORAGE_URL": settings.resolved_storage_url(),
            "STAR_BROKER_URL": self.broker_url,
            "STAR_FAILPOINTS_FIRED": str(self.fired),
            MARK: str(self.home),
            "PYTHONPATH": str(self.code),
            **variables,
        }
        with (self.logs / f"{name}.log").open("ab") as log:
            self.parts[name] = supervised_process.start(
                [sys.executable, *command], cwd=self.code, env=environment, output=log, grace_s=grace_s
            )
        return name

    @property
    def fired(self) -> Path:
        """The folder of the failpoints that have fired."""
        folder = self.home / "fired"
        folder.mkdir(exist_ok=True)
        return folder

    def process(self, name: str) -> psutil.Process:
        """The program itself, below its supervisor."""
        children = psutil.Process(self.parts[name].pid).children()
        assert len(children) == 1, f"{name} has ended: {self.log(name)[-2000:]}"
        return children[0]

    def pool_child(self, name: str) -> psutil.Process:
        return self.process(name).children()[0]

    def gpu_processes(self) -> list[psutil.Process]:
        return [one for one in self.alive() if "worker.gpu.child" in _command(one)]

    def kill(self, name: str) -> None:
        self.process(name).kill()
        self.parts.pop(name).wait(timeout=30)

    def stop(self, name: str) -> int:
        """SIGTERM, and SIGKILL after the grace period. Returns the exit status."""
        return supervised_process.stop(self.parts.pop(name))

    def alive(self) -> list[psutil.Process]:
        """Every process of this test, its supervisors left out."""
        return [one for one in psutil.process_iter() if self._is_ours(one)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            if process.status() == psutil.STATUS_ZOMBIE or "supervised_process.py" in _command(process):
                return False
            return process.environ().get(MARK) == str(self.home)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False

    def log(self, name: str) -> str:
        return (self.logs / f"{name}.log").read_text(errors="replace")

    def log_events(self) -> Iterator[dict[str, Any]]:
        """Every structured line of every log, with the log's name as `log`."""
        for path in sorted(self.logs.glob("*.log")):
            for line in path.read_text(errors="replace").splitlines():
                if line.startswith("{"):
                    yield {**json.loads(line), "log": path.stem}

    def wait_for(
        self,
        job_id: str,
        *statuses: str,
        seconds: float = 180,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> None:
        def reached() -> bool:
            meanwhile()
            job = self.world.job(job_id)
            assert job.status in statuses or job.status not in ("failed", "cancelled"), job.status_reason
            return job.status in statuses

        try:
            wait_until(reached, f"{job_id} {statuses}", seconds)
        except AssertionError as error:
            logs = "\n".join(
                f"--- {path.name}\n{path.read_text()[-3000:]}" for path in self.logs.glob("*.log")
            )
            job = self.world.job(job_id)
            raise AssertionError(f"{error}: {job.status} {job.phase} {job.status_reason}\n{logs}") from error

    def close(self) -> None:
        for process in self.alive():  # what a failpoint has stopped could not obey
            if process.status() == psutil.STATUS_STOPPED:
                process.send_signal(signal.SIGCONT)
        for name in sorted(self.parts, reverse=True):  # workers hand back while the scheduler runs
            self.stop(name)


@contextmanager
def platform(world: World, broker_url: str) -> Iterator[Platform]:
    running = Platform(world, broker_url)
    try:
        yield running
    finally:
        running.close()
    try:
        wait_until(lambda: not running.alive(), "no process is left behind", 20)
    finally:
        for process in running.alive():
            process.kill()


def as_environment(settings: Settings) -> dict[str, str]:
    given = settings.model_dump(mode="json", exclude_unset=True)
    return {
        f"STAR_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in given.items()
        if value is not None
    }


def _command(process: psutil.Process) -> str:
    return " ".join(process.cmdline())
