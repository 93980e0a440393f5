"""What the ledger costs where ten thousand workers share it, and what breaks first.

    python -m benchmarks.ten_thousand_workers > FILE.md

The tables are filled as they would be with so many workers: each is alive and holds a step, and as many
steps wait. Then the real functions are timed on that, one at a time, from one connection. From these times
and from how often each is called follows how many connections are busy at once (rate times duration), which
is what a database runs out of. Times are processor time, of the database and of its client together.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import func, insert, select, update

from app.database import clock, new_id, reading, transaction
from app.ledger.queue.capacity import saw_worker
from app.ledger.queue.outbox import BATCH, RELAY_SECONDS, relay
from app.ledger.queue.reaper import reap
from app.ledger.queue.steps import Claim, claim_step, finish_step, heartbeat
from app.tables.jobs import Job, Outbox, Step
from app.tables.platform import Worker
from benchmarks.ledger_world import LEASE_SECONDS, about, cpu_seconds, new_world
from tests.app.ledger.queue.test_dispatch import submit
from tests.factories import World
from worker.tasks import PRESENCE_SECONDS

CALLS = 20
PROJECTS = 20
STEPS_PER_JOB = 50  # of those that run, and as many that wait
STEP_SECONDS = 60.0  # a shard of 128 examples on a GPU that does two a second
BUSY_CONNECTIONS = 64  # what a database of 16 to 32 cores serves at once without queueing
SESSIONS = 1000  # max_connections of such a database; an idle worker keeps one open
CLIENTS, CLIENTS_PER_WORKER = 10_000, 4  # Redis's default for maxclients; CLIENT LIST beside one idle worker


@dataclass(frozen=True)
class Cost:
    """Milliseconds of one call, and how often a worker causes one, in calls a second."""

    name: str
    rate: float
    milliseconds: float


def fill(world: World, workers: int) -> None:
    """So many live workers, each with a running step, and as many steps in the queue."""
    jobs = max(1, workers // STEPS_PER_JOB)
    ids = [submit(world, f"project-{number % PROJECTS}") for number in range(jobs)]
    with transaction(world.engine) as session:
        template = session.scalars(select(Step).limit(1)).one()
        session.execute(update(Job).values(status="running"))
        session.execute(update(Step).values(status="succeeded"))
        now = session.scalar(select(clock()))
        assert now is not None
        session.execute(
            insert(Worker), [{"id": f"busy:{n}", "seen_at": now, "gpus": 1} for n in range(workers)]
        )
        session.execute(
            insert(Step),
            [
                _step(template, ids[n % jobs], number=n, status=status, now=now)
                for status in ("running", "queued")
                for n in range(workers)
            ],
        )
        session.execute(update(Outbox).values(step_id=select(func.min(Step.id)).scalar_subquery()))
    if world.engine.dialect.name == "postgresql":
        with world.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE")  # autovacuum would have


def _step(template: Step, job_id: str, *, number: int, status: str, now: Any) -> dict[str, Any]:
    running = status == "running"
    return {
        "id": new_id("step"),
        "job_id": job_id,
        "iteration_number": 1,
        "phase": "sample",
        "shard": 2 * number + running,
        "work": {"start": 0, "stop": 16},
        "model_id": template.model_id,
        "priority": 0,
        "status": status,
        "attempt": int(running),
        "fence": int(running),
        "lease_owner": f"busy:{number}" if running else None,
        "lease_until": now + timedelta(hours=1) if running else None,
        "progress": {},
        "notified_at": now,
    }


def measure(world: World) -> list[Cost]:
    """Time what every worker does, on the tables as they are."""
    claims: list[Claim] = []

    def claim() -> None:
        found = claim_step(world.engine, f"busy:{len(claims)}", LEASE_SECONDS)
        assert found is not None
        claims.append(found)

    claim_ms = _milliseconds(world, claim)
    beat_ms = _milliseconds(world, lambda: _beat(world, claims[0]))
    held = iter(claims)
    return [
        Cost("heartbeat", 1 / world.settings.heartbeat_seconds, beat_ms),
        Cost("claim", 1 / STEP_SECONDS, claim_ms),
        Cost("finish", 1 / STEP_SECONDS, _milliseconds(world, lambda: _finish(world, next(held)))),
        Cost("presence", 1 / PRESENCE_SECONDS, _milliseconds(world, lambda: _present(world))),
        # A claimed shard that is cut leaves a rest, and each rest is a notification: one for every claim.
        Cost("a notification sent", 1 / STEP_SECONDS, _milliseconds(world, lambda: _relay(world)) / BATCH),
    ]


def _milliseconds(world: World, call: Callable[[], object]) -> float:
    """Of processor time, the mean of some calls after one to warm up."""
    call()
    began = cpu_seconds(world)
    for _ in range(CALLS):
        call()
    return 1000 * (cpu_seconds(world) - began) / CALLS


def _beat(world: World, held: Claim) -> None:
    with transaction(world.engine) as session:
        heartbeat(session, held, {"done": 1}, LEASE_SECONDS)


def _finish(world: World, held: Claim) -> None:
    with transaction(world.engine) as session:
        finish_step(session, held, world.settings)


def _present(world: World) -> None:
    with transaction(world.engine) as session:
        saw_worker(session, "busy:0")


def _relay(world: World) -> None:
    """A full batch of notifications, sent nowhere. Writing them is not counted: they come with the claims."""
    with transaction(world.engine) as session:
        waiting = list(session.scalars(select(Step.id).where(Step.status == "queued").limit(BATCH)))
        session.add_all(Outbox(step_id=step_id) for step_id in waiting)
    relay(world.engine, lambda _step, _queue: None)


def scheduler_turn(world: World) -> float:
    """Milliseconds of looking for leases that have ended where none has."""
    return _milliseconds(world, lambda: reap(world.engine, world.settings))


def report(workers: int, database: str) -> dict[str, Cost]:
    with new_world(database) as world:
        fill(world, workers)
        costs = measure(world)
        turn = scheduler_turn(world)
        with reading(world.engine) as session:
            steps = session.scalar(select(func.count()).select_from(Step))
    busy = sum(cost.rate * workers * cost.milliseconds / 1000 for cost in costs)
    print(
        f"\n## {workers:,} workers\n\n{steps:,} steps in the table. A reaper's look: {turn:.1f} ms of CPU.\n"
    )
    print("| what | CPU ms | a second | connections busy |\n| --- | --- | --- | --- |")
    for cost in costs:
        rate = cost.rate * workers
        print(
            f"| {cost.name} | {cost.milliseconds:.1f} | {rate:,.0f} | {rate * cost.milliseconds / 1000:.1f} |"
        )
    print(f"\nBusy at once: {busy:.1f} connections, of about {BUSY_CONNECTIONS} that a large server has.")
    return {cost.name: cost for cost in costs}


def limits(costs: dict[str, Cost], scheduler_seconds: float) -> None:
    """How many workers each part holds at the times just measured, the first to break on top."""
    one_job = costs["claim"].milliseconds + costs["finish"].milliseconds
    notification = costs["a notification sent"].milliseconds
    busy = sum(cost.rate * cost.milliseconds / 1000 for cost in costs.values())
    found = {
        "one job's row: its claims and finishes wait for each other": STEP_SECONDS * 1000 / one_job,
        f"one scheduler: notifications for {RELAY_SECONDS:.0f} s, then a pause": STEP_SECONDS
        * (1000 / notification)
        * RELAY_SECONDS
        / (RELAY_SECONDS + scheduler_seconds),
        f"the database: {BUSY_CONNECTIONS} busy connections": BUSY_CONNECTIONS / busy,
        f"PostgreSQL's sessions: one for each idle worker, max_connections = {SESSIONS:,}": float(SESSIONS),
        f"Redis's sessions: {CLIENTS_PER_WORKER} for each worker, maxclients = {CLIENTS:,}": (
            CLIENTS / CLIENTS_PER_WORKER
        ),
    }
    print("\n## What breaks first\n\n| part | holds so many workers |\n| --- | --- |")
    for part, workers in sorted(found.items(), key=lambda one: one[1]):
        print(f"| {part} | {workers:,.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="postgresql")
    parser.add_argument("--workers", type=int, nargs="+", default=[100, 1000, 10_000])
    arguments = parser.parse_args()
    print("# Ten thousand workers\n\n```sh\npython -m benchmarks.ten_thousand_workers\n```\n")
    with new_world(arguments.database) as world:
        print(about(world))
        pause = world.settings.scheduler_seconds
    for workers in arguments.workers:
        costs = report(workers, arguments.database)
    limits(costs, pause)


if __name__ == "__main__":
    main()
