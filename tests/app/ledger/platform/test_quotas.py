"""Quotas where workers and jobs meet: no step is claimed and no weights are recorded beyond them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from app.database import reading, transaction
from app.errors import QuotaExceeded
from app.ledger.jobs.jobs import pause_job, resume_job
from app.ledger.platform.quotas import set_quota, standings
from app.ledger.queue.steps import claim_step, finish_step
from app.tables.jobs import Job
from app.tables.rationales import Adapter
from app.tables.statuses import JobStatus
from app.tables.usage import Usage
from tests.app.ledger.ledger_driver import claim, do_step, finish_job, finish_phase, train
from tests.factories import World


def limit(world: World, **limits: float) -> None:
    with transaction(world.engine) as session:
        set_quota(session, world.project_id, limits)


def used(world: World) -> dict[str, float]:
    with reading(world.engine) as session:
        return {row.name: row.used for row in standings(session, world.project_id)}


def running(world: World) -> int:
    with reading(world.engine) as session:
        return session.scalar(select(func.count()).where(Job.status == JobStatus.RUNNING.value)) or 0


def test_no_more_jobs_start_than_may_run(world: World) -> None:
    for _ in range(3):
        world.submit()
    limit(world, running_jobs=1)
    first = claim(world)
    assert {claim(world, f"worker:{n}").job_id for n in range(3)} == {first.job_id}
    assert running(world) == 1
    limit(world)
    while claim_step(world.engine, "worker:1", 60) is not None:
        pass
    assert running(world) == 3


def test_workers_that_ask_at_once_start_no_job_too_many(world: World) -> None:
    for _ in range(6):
        world.submit()
    limit(world, running_jobs=2)
    with ThreadPoolExecutor(6) as pool:
        held = list(pool.map(lambda n: claim_step(world.engine, f"worker:{n}", 60), range(12)))
    assert running(world) == 2
    assert len({one.job_id for one in held if one is not None}) == 2


def test_resumed_job_needs_room_to_run(world: World) -> None:
    first, _ = world.submit(), world.submit()
    limit(world, running_jobs=1)
    held = claim(world)
    with transaction(world.engine) as session:
        pause_job(session, session.get_one(Job, held.job_id))
    do_step(world, held)
    assert claim(world).job_id != first
    with pytest.raises(QuotaExceeded, match="running_jobs"), transaction(world.engine) as session:
        resume_job(session, session.get_one(Job, first), world.settings)


def test_project_without_gpu_hours_left_gets_no_step_and_no_job(world: World) -> None:
    job_id = world.submit()
    held = claim(world)
    with transaction(world.engine) as session:
        session.add(
            Usage(
                project_id=world.project_id,
                job_id=job_id,
                step_id="step_before",
                fence=1,
                attempt=1,
                iteration_number=0,
                phase="sample",
                worker_id="worker:1",
                gpu_seconds=7200,
                outcome="succeeded",
            )
        )
    assert used(world)["gpu_hours"] == 2
    limit(world, gpu_hours=2)
    assert claim_step(world.engine, "worker:2", 60) is None
    do_step(world, held)  # what runs goes on
    with pytest.raises(QuotaExceeded, match="gpu_hours"):
        world.submit()
    limit(world, gpu_hours=2.5)
    assert claim_step(world.engine, "worker:2", 60) is not None


def test_weights_beyond_the_quota_are_not_recorded(world: World) -> None:
    world.submit()
    finish_phase(world, "build")
    limit(world, adapter_bytes=1)
    held = claim(world)
    with pytest.raises(QuotaExceeded, match="adapter_bytes"):
        train(world, held)
    with reading(world.engine) as session:
        assert session.scalar(select(func.count(Adapter.id))) == 0
    limit(world)
    train(world, held)
    with transaction(world.engine) as session:
        finish_step(session, held, world.settings)
    finish_job(world)
    assert used(world)["adapter_bytes"] > 1
