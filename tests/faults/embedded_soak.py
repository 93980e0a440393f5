"""The embedded platform while something breaks every moment: its broker, its parts, and all of it at once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx2
import psutil
import redis
import yaml
from sqlalchemy import exists, select

from app.database import clock, reading, transaction
from app.ledger.platform.keys import Scope, create_key
from app.tables.jobs import Job, Step
from app.tables.platform import Project
from tests.app.api_harness import make_model
from tests.databases import PROJECT
from tests.factories import CONFIG, MODEL, World
from tests.faults.boundaries import SETTINGS, VERIFIER_SETTINGS
from tests.faults.deleted import let_deleted_go
from tests.platforms import MARK, Platform, as_environment, wait_until
from worker.valkey import free_port

# What is drawn how often. A part that ends takes the platform with it, which then takes seconds to start.
KINDS = {
    "valkey": 3,
    "wipe broker": 3,
    "pool child": 4,
    "gpu process": 4,
    "stop": 3,
    "delete job": 3,
    "part": 1,
    "platform": 1,
}
PARTS = ("app.server", "worker.scheduler", "worker.celery", "worker.serving", "worker.sandbox.service")
EVERY_PHASE: tuple[dict[str, Any], ...] = ({}, SETTINGS, {}, VERIFIER_SETTINGS)
STOP_SECONDS = (1.0, 6.0)  # around the lease of 3 s
PATIENCE_SECONDS = 20.0
JOBS_AT_ONCE = 3


class EmbeddedSoak:
    """Jobs come and go over HTTP, each POST under an Idempotency-Key until it has been answered.

    `running` is where its processes and logs are looked for; it starts none itself.
    """

    def __init__(self, world: World, seed: int, pace: float) -> None:
        self.world = world
        self.running = Platform(world, "")
        self.dice = random.Random(seed)
        self.pace = pace
        self.done: Counter[str] = Counter()
        self.starts = 0
        self.jobs: dict[str, str] = {}  # by their keys
        self.deleted: list[str] = []
        self.asked = 0  # how many jobs somebody wanted
        self.pending: str | None = None  # the key of a POST that nobody answered
        self.embedded: subprocess.Popen[bytes] | None = None
        models = world.settings.home / "models.yaml"
        make_model(world.settings.home / "model")
        models.write_text(yaml.safe_dump([{"id": MODEL, "location": str(world.settings.home / "model")}]))
        with transaction(world.engine) as session:
            project = session.get_one(Project, world.project_id)
            key = create_key(session, project, "soak", [Scope.SUBMIT])
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("STAR_")},
            **as_environment(world.settings),
            "STAR_DATABASE_URL": world.settings.resolved_database_url(),
            "STAR_MODELS_FILE": str(models),
            MARK: str(world.settings.home),
        }
        self.client = httpx2.Client(headers={"Authorization": f"Bearer {key}"}, timeout=10)

    def run(self, faults: int, most_seconds: float) -> float:
        """Break so many things; returns the seconds it took."""
        began = time.monotonic()
        while self.done.total() < faults and time.monotonic() < began + most_seconds:
            self.keep_busy()
            wait_until(self.is_at_work, "somebody holds a step again", 180)
            self.strike(self.dice.choices(list(KINDS), list(KINDS.values()))[0])
            while time.monotonic() < began + self.done.total() * self.pace:
                self.look_after()
        return time.monotonic() - began

    def settle(self) -> None:
        """Let every job end, now that nothing breaks any more, and what was deleted go."""

        def all_ended() -> bool:
            self.look_after()
            self.keep_busy(most=0)
            return self.pending is None and not self.unfinished()

        wait_until(all_ended, "all jobs end", 1200)
        let_deleted_go(self.world, self.deleted, self.look_after)

    def close(self) -> None:
        """End the platform as its user would."""
        self.client.close()
        if self.embedded is not None and self.embedded.stdin is not None:
            self.embedded.stdin.close()
            self.embedded.wait(120)

    def keep_busy(self, most: int = JOBS_AT_ONCE) -> None:
        """Submit what is missing. An unanswered POST is sent again with its key before any other."""
        while self.pending is not None or len(self.unfinished()) < most:
            if self.pending is None:
                self.asked += 1
                self.pending = f"soak-{self.asked}"
            if not self._post(self.pending):
                return
            self.pending = None

    def _post(self, key: str) -> bool:
        config = {**CONFIG, "iterations": 1, **EVERY_PHASE[int(key.rpartition("-")[2]) % len(EVERY_PHASE)]}
        body = {
            "model": MODEL,
            "dataset": self.world.dataset_id,
            "prompt_set": self.world.prompt_set_id,
            "config": config,
        }
        try:
            made = self.client.post(f"{self.url}/v1/jobs", json=body, headers={"Idempotency-Key": key})
        except (httpx2.TransportError, FileNotFoundError):
            return False
        if made.status_code == 503:  # SQLite is held by somebody who is stopped
            return False
        assert made.status_code in (200, 201), made.text
        self.jobs[key] = made.json()["id"]
        return True

    @property
    def url(self) -> str:
        return (self.world.settings.home / "url").read_text().strip()

    def unfinished(self) -> set[str]:
        there = [job for job in self.jobs.values() if job not in self.deleted]
        with reading(self.world.engine) as session:
            ended = Job.status.in_(("succeeded", "failed"))
            return set(session.scalars(select(Job.id).where(Job.id.in_(there), ~ended)))

    def is_at_work(self) -> bool:
        self.look_after()
        self.keep_busy()
        with reading(self.world.engine) as session:
            return session.scalar(select(exists().where(Step.lease_until > clock()))) or False

    def look_after(self) -> None:
        """As whoever types `star serve` again where it has ended."""
        time.sleep(0.1)
        if self.embedded is None or self.embedded.poll() is not None:
            self.start()

    def start(self) -> None:
        home = self.world.settings.home
        (home / "url").unlink(missing_ok=True)
        command = [sys.executable, "-m", "worker.embedded", "--port", str(free_port()), "--with-stdin"]
        with (home / "embedded.log").open("ab") as log:
            self.embedded = subprocess.Popen(
                command,
                cwd=PROJECT,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        self.starts += 1
        wait_until(lambda: (home / "url").exists() or self.has_ended(), "it does not start", 300)

    def has_ended(self) -> bool:
        return self.embedded is None or self.embedded.poll() is not None

    def strike(self, kind: str) -> None:
        """Break it as soon as it can be broken."""
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            with suppress(psutil.NoSuchProcess, LookupError, httpx2.TransportError, FileNotFoundError):
                self._faults()[kind]()
                self.done[kind] += 1
                return
            self.look_after()

    def _faults(self) -> dict[str, Callable[[], object]]:
        return {
            "valkey": lambda: self._below("valkey-server", "redis-server").kill(),
            "wipe broker": self._wipe_broker,
            "pool child": lambda: self._pool_child().kill(),
            "gpu process": lambda: self.dice.choice(self.running.gpu_processes()).kill(),
            "stop": self._stop,
            "delete job": self._delete_job,
            "part": lambda: self._end_of(lambda: self._below(self.dice.choice(PARTS)).kill()),
            "platform": lambda: self._end_of(self._kill_platform),
        }

    def _below(self, *words: str) -> psutil.Process:
        """The part whose program or command has one of these words, below its supervisor."""
        assert self.embedded is not None
        for one in psutil.Process(self.embedded.pid).children(recursive=True):
            command = one.cmdline()
            supervisor = any("supervised_process.py" in word for word in command)
            if not supervisor and any(word in " ".join(command) for word in words):
                return one
        raise LookupError(words)

    def _pool_child(self) -> psutil.Process:
        return self._below("worker.celery").children()[0]

    def _stop(self) -> None:
        """For around a lease; nobody else is there to take over, so it is the same one that claims again."""
        child = self._pool_child()
        child.suspend()
        try:
            time.sleep(self.dice.uniform(*STOP_SECONDS))
        finally:
            with suppress(psutil.NoSuchProcess):
                child.resume()

    def _wipe_broker(self) -> None:
        server = self._below("valkey-server", "redis-server")
        paths = {str(one.laddr) for one in server.net_connections("unix") if str(one.laddr)}
        if not paths:
            raise LookupError("it is just starting")
        with suppress(redis.ConnectionError), redis.Redis(unix_socket_path=paths.pop()) as broker:
            broker.flushall()

    def _delete_job(self) -> None:
        """One that has ended, over HTTP; a DELETE that nobody answered may have deleted it all the same."""
        there = sorted({*self.jobs.values()} - {*self.deleted} - self.unfinished())
        job_id = self.dice.choice(there)
        answer = self.client.delete(f"{self.url}/v1/jobs/{job_id}")
        if answer.status_code == 503:
            raise LookupError(job_id)
        assert answer.status_code in (204, 404), answer.text
        self.deleted.append(job_id)

    def _kill_platform(self) -> None:
        assert self.embedded is not None
        self.embedded.send_signal(signal.SIGKILL)

    def _end_of(self, fault: Callable[[], None]) -> None:
        """The whole platform ends with any of its parts; start it again."""
        fault()
        assert self.embedded is not None
        self.embedded.wait(120)
        wait_until(lambda: not self.running.alive(), "no part is left behind", 60)
        self.look_after()

    def count_jobs(self) -> int:
        """Of the project, those that are deleted left out."""
        with reading(self.world.engine) as session:
            found = select(Job.id).where(Job.project_id == self.world.project_id)
            return len(session.scalars(found).all())
