"""Many jobs, several workers, and something breaks every moment. The seed says what."""

from __future__ import annotations

import math
import random
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psutil
import psycopg
import redis
from sqlalchemy import exists, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from app.database import clock, reading, transaction
from app.ledger.deletion.mark import delete_job
from app.tables.jobs import Job, Step
from tests.code_questions import JOB, with_code
from tests.factories import World
from tests.faults.boundaries import SETTINGS, VERIFIER_SETTINGS, WAVES_SETTINGS
from tests.faults.deleted import let_deleted_go
from tests.platforms import WORKER, Platform, wait_until
from tests.tool_questions import JOB as TOOL_JOB
from tests.tool_questions import with_tools

STOP_SECONDS = (4.0, 12.0)  # longer than the lease of 3 s; long enough for others to take over, or not
# How often each is drawn. A Celery parent takes 2 s of CPU to start again: drawn more often, nothing else
# would be done. The stop at work is the fault that the fence is for.
KINDS = {
    "pool child": 5,
    "gpu process": 5,
    "stop": 3,
    "stop at work": 6,
    "wipe broker": 4,
    "celery parent": 1,
    "scheduler": 1,
    "delete job": 2,
}
# In turn, after a job of programs and two with a tool: together they come by every phase. The plain ones are
# short, so that there are always some that have ended and may be deleted.
EVERY_PHASE: tuple[dict[str, Any], ...] = ({}, SETTINGS, {}, VERIFIER_SETTINGS, {}, WAVES_SETTINGS)
# Where nothing but programs is executed: judged by tests, called in CPython, called in the interpreter.
CPYTHON_JOB: dict[str, Any] = {**TOOL_JOB, "tools": {"python": {"runtime": "cpython"}}}
OF_PROGRAMS = {"launcher": 4, "interpreter": 3}  # where programs are executed, and a tool's calls are
ON_POSTGRESQL = {"database connections": 2}
LOOK_SECONDS = 0.1  # between two looks at those who are stopped
PATIENCE_SECONDS = 20.0  # for a fault until it can strike


@dataclass(frozen=True)
class Stopped:
    """Wakes after `until` at the latest, and where it held a step, as soon as that is another one's."""

    process: psutil.Process
    until: float  # monotonic
    step_id: str | None = None
    fence: int = 0


class Soak:
    """Breaks one thing after another, `pace` seconds apart where the machine keeps up.

    Each fault waits until somebody is at work. Without that, a busy machine's faults met only processes
    that were starting: 60 of them in 36 s, and not one step was claimed.
    """

    def __init__(
        self,
        running: Platform,
        seed: int,
        pace: float,
        workers: int,
        command: tuple[str, ...] = WORKER,
        *,
        jobs: int = 4,
        burst: int = 1,
        mixed: bool = False,
        programs: bool = False,
        **config: Any,
    ) -> None:
        """`jobs` of `config` run at once, `mixed` with others (EVERY_PHASE), or of them those that execute
        `programs` alone; `burst` things break at once.
        """
        self.running = running
        self.world: World = running.world
        self.broker = redis.Redis.from_url(running.broker_url)
        self.dice = random.Random(seed)
        self.pace = pace
        self.command = command
        self.names = [f"worker-{number}" for number in range(workers)]
        self.done: Counter[str] = Counter()
        self.restarts = 0  # of what ended by itself
        self.stopped: list[Stopped] = []
        self.jobs: list[str] = []
        self.deleted: list[str] = []
        self.of_programs = (with_code(self.world), with_tools(self.world)) if mixed else None
        self.turns = () if programs else EVERY_PHASE
        self.jobs_at_once, self.burst = jobs, burst
        self.config = {"iterations": 1, **config}
        url = make_url(self.world.settings.resolved_database_url())
        self.database = url if url.get_backend_name() == "postgresql" else None
        self.kinds = KINDS | (ON_POSTGRESQL if self.database else {}) | (OF_PROGRAMS if mixed else {})
        running.scheduler()
        for name in self.names:
            running.worker(name, command)

    def run(
        self, faults: int, found: Callable[[], bool] = lambda: False, most_seconds: float = math.inf
    ) -> float:
        """Break so many things, or stop when `found` says so every 20 rounds; returns the seconds it took."""
        began = time.monotonic()
        rounds = 0
        while self.done.total() < faults and time.monotonic() < began + most_seconds:
            self.break_something()
            rounds += 1
            if rounds % 20 == 0 and found():
                break
            while time.monotonic() < began + self.done.total() * self.pace:
                self.look_after()
        seconds = time.monotonic() - began
        self.wake(everybody=True)
        self.start_what_ended()
        return seconds

    def settle(self, ended: Callable[[], object] = lambda: None) -> None:
        """Let every job end, now that nothing breaks any more. ended: called before deleted jobs are removed,
        and with them what was executed for them.
        """

        def all_ended() -> bool:
            self.start_what_ended()
            return not self.unfinished()

        wait_until(all_ended, "all jobs end", 1200)
        assert all(self.world.job(job_id).status == "succeeded" for job_id in self.jobs)
        ended()
        let_deleted_go(self.world, self.deleted, self.start_what_ended)

    def unfinished(self) -> Sequence[str]:
        with reading(self.world.engine) as session:
            ended = Job.status.in_(("succeeded", "failed"))
            return session.scalars(select(Job.id).where(Job.id.in_(self.jobs), ~ended)).all()

    def keep_busy(self) -> None:
        """Submit what is missing. What is refused comes again before the next fault: on SQLite a process
        that is stopped in the middle of a write keeps all others from writing."""
        for _ in range(self.jobs_at_once - len(self.unfinished())):
            with suppress(OperationalError):
                self.jobs.append(self.submit())

    def submit(self) -> str:
        number = len(self.jobs) + len(self.deleted)
        if self.of_programs is None:
            return self.world.submit(**self.config)
        turn = (number - 3) % (len(self.turns) + 3)
        if turn < len(self.turns):
            return self.world.submit(**{**self.config, **self.turns[turn]})
        programs, tools = self.of_programs
        kind = turn - len(self.turns)
        return programs.submit(**JOB) if kind == 0 else tools.submit(**(CPYTHON_JOB, TOOL_JOB)[kind - 1])

    def break_something(self) -> None:
        """What was drawn strikes as soon as it can. Drawn again instead, restarts, which are always possible,
        would crowd out everything else."""
        self.keep_busy()
        drawn = self.dice.choices(list(self.kinds), list(self.kinds.values()), k=self.burst)
        wait_until(self.is_at_work, "somebody holds a step again", 180)
        for kind in drawn:
            self.strike(kind)

    def strike(self, kind: str) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            with suppress(psutil.NoSuchProcess, IndexError):  # it is just starting, or has just ended
                getattr(self, f"_{kind.replace(' ', '_')}")(self.dice.choice(self.names))
                self.done[kind] += 1
                return
            self.look_after()

    def is_at_work(self) -> bool:
        self.look_after()
        with reading(self.world.engine) as session:
            return session.scalar(select(exists().where(Step.lease_until > clock()))) or False

    def look_after(self) -> None:
        time.sleep(LOOK_SECONDS)
        self.start_what_ended()
        self.wake()

    def start_what_ended(self) -> None:
        """As `restart: unless-stopped` does. Celery ends itself where a pool child dies while it starts."""
        for name in [name for name, part in self.running.parts.items() if part.poll() is not None]:
            del self.running.parts[name]
            self.start(name)
            self.restarts += 1

    def start(self, name: str) -> None:
        if name == "scheduler":
            self.running.scheduler()
        else:
            self.running.worker(name, self.command)

    def wake(self, *, everybody: bool = False) -> None:
        for one in list(self.stopped):
            if everybody or one.until < time.monotonic() or self.is_replaced(one):
                self.stopped.remove(one)
                with suppress(psutil.NoSuchProcess):
                    one.process.send_signal(signal.SIGCONT)

    def is_replaced(self, one: Stopped) -> bool:
        """Whether another worker has taken up the step of a stopped one, and is at work on it now."""
        taken_up = (Step.status == "running", Step.fence > one.fence)
        with reading(self.world.engine) as session:
            found = session.scalar(select(Step.id).where(Step.id == one.step_id, *taken_up))
        return found is not None

    def _pool_child(self, name: str) -> None:
        self._process(name).children()[0].kill()

    def _gpu_process(self, name: str) -> None:
        """Of this worker: a child of its pool child."""
        self._process(name).children()[0].children()[0].kill()

    def _launcher(self, name: str) -> None:
        """Of a sandbox, with or without a program in it."""
        self._below(name, "launcher.py").kill()

    def _interpreter(self, name: str) -> None:
        """Of a tool's calls."""
        self._below(name, "monty").kill()

    def _below(self, name: str, word: str) -> psutil.Process:
        """A process of this worker with this word in its command; IndexError where there is none."""
        found = self._process(name).children(recursive=True)
        return self.dice.choice([one for one in found if word in " ".join(one.cmdline())])

    def _stop(self, _: str) -> None:
        child = self.dice.choice(list(self._awake().values()))
        child.suspend()
        self.stopped.append(Stopped(child, time.monotonic() + self.dice.uniform(*STOP_SECONDS)))

    def _stop_at_work(self, _: str) -> None:
        """Somebody who holds a step; it wakes while another one holds that."""
        awake = self._awake()
        with reading(self.world.engine) as session:
            held = select(Step.id, Step.fence, Step.lease_owner).where(Step.lease_owner.in_(awake))
            step_id, fence, owner = self.dice.choice(session.execute(held.order_by(Step.id)).all())
        child = awake[str(owner)]
        child.suspend()
        self.stopped.append(Stopped(child, time.monotonic() + STOP_SECONDS[1], step_id, fence))

    def _awake(self) -> dict[str, psutil.Process]:
        """Pool children by their name in the ledger. None where only one is left: nobody would take over."""
        away = {one.process.pid for one in self.stopped}
        found: dict[str, psutil.Process] = {}
        for name in self.names:
            with suppress(IndexError):
                child = self._process(name).children()[0]
                found[f"{socket.gethostname()}:{child.pid}"] = child
        awake = {owner: child for owner, child in found.items() if child.pid not in away}
        return awake if len(awake) > 1 else {}

    def _celery_parent(self, name: str) -> None:
        self._kill(name)

    def _scheduler(self, _: str) -> None:
        self._kill("scheduler")

    def _kill(self, name: str) -> None:
        self._process(name).kill()
        self.running.parts.pop(name).wait(timeout=60)
        self.start(name)

    def _process(self, name: str) -> psutil.Process:
        """The program below its supervisor; IndexError where it is just starting."""
        return psutil.Process(self.running.parts[name].pid).children()[0]

    def _delete_job(self, _: str) -> None:
        """One that has ended; IndexError where there is none."""
        ended = sorted({*self.jobs} - {*self.unfinished()})
        job_id = self.dice.choice(ended)
        try:
            with transaction(self.world.engine) as session:
                delete_job(session, job_id)
        except OperationalError:  # on SQLite somebody is stopped in the middle of a write
            raise IndexError(job_id) from None
        self.jobs.remove(job_id)
        self.deleted.append(job_id)

    def _wipe_broker(self, _: str) -> None:
        self.broker.flushall()

    def _database_connections(self, _: str) -> None:
        assert self.database is not None
        conninfo = self.database.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where datname = current_database() and pid <> pg_backend_pid()"
            )
        self.world.engine.dispose()
