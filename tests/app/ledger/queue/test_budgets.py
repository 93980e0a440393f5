"""A job's budget: what ends it, when, as what, and that everything recorded stays."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, update

from app.database import clock, reading, transaction
from app.ledger.jobs.jobs import pause_job, resume_job
from app.ledger.queue.budgets import end_all_exhausted
from app.ledger.queue.steps import Claim, claim_step, finish_step, heartbeat, release_step
from app.tables.jobs import Job, Step
from app.tables.usage import Usage
from tests.app.ledger.ledger_driver import EFFECTS, claim, do_step, finish_job, finish_phase
from tests.factories import World
from tests.faults.checker import check


def limit(world: World, job_id: str, **values: Any) -> None:
    with transaction(world.engine) as session:
        session.execute(update(Job).where(Job.id == job_id).values(**values))


def spend(world: World, job_id: str, seconds: float) -> None:
    """As if this had been used by claims that have ended."""
    with transaction(world.engine) as session:
        row = session.scalars(select(Usage).where(Usage.job_id == job_id)).first()
        assert row is not None
        row.gpu_seconds += seconds


def steps(world: World, job_id: str) -> set[str]:
    with reading(world.engine) as session:
        return set(session.scalars(select(Step.status).where(Step.job_id == job_id)))


def test_job_within_its_budget_ends_as_any_other(world: World) -> None:
    job_id = world.submit()
    limit(world, job_id, budget_gpu_seconds=1e6, deadline_at=clock(1e6))
    finish_job(world)
    assert end_all_exhausted(world.engine) == 0
    job = world.job(job_id)
    assert (job.status, job.stop_reason) == ("succeeded", "completed_iterations")


def test_spent_budget_ends_the_job_where_it_has_an_adapter_and_keeps_it(world: World) -> None:
    job_id = world.submit()
    limit(world, job_id, budget_gpu_seconds=1000.0)
    finish_phase(world, "verify_adapter")
    spend(world, job_id, 1000.0)
    assert claim_step(world.engine, "worker:1", 60) is None
    job = world.job(job_id)
    assert (job.status, job.stop_reason, job.status_reason) == ("succeeded", "budget_exhausted", None)
    assert steps(world, job_id) == {"succeeded", "cancelled"}
    check(world)


def test_spent_budget_without_an_adapter_is_a_failure_that_says_what_to_change(world: World) -> None:
    job_id = world.submit()
    limit(world, job_id, budget_gpu_seconds=1000.0)
    finish_phase(world, "baselines")
    spend(world, job_id, 1000.0)
    assert claim_step(world.engine, "worker:1", 60) is None
    job = world.job(job_id)
    assert (job.status, job.stop_reason) == ("failed", "budget_exhausted")
    assert job.status_reason is not None
    assert (job.status_reason["code"], job.status_reason["category"]) == ("budget_exhausted", "user")
    assert "larger budget" in job.status_reason["hint"]
    check(world)


def test_deadline_ends_a_job_that_no_worker_has_begun(world: World) -> None:
    job_id = world.submit()
    limit(world, job_id, deadline_at=clock(-1))
    assert end_all_exhausted(world.engine) == 1
    job = world.job(job_id)
    assert (job.status, job.stop_reason) == ("failed", "deadline")
    assert job.status_reason is not None
    assert job.status_reason["code"] == "deadline_exceeded"
    assert end_all_exhausted(world.engine) == 0
    check(world)


def test_running_steps_are_told_to_stop_and_what_they_recorded_stays(world: World) -> None:
    job_id = world.submit()
    held = claim(world)
    EFFECTS[held.phase](world, held)
    limit(world, job_id, budget_gpu_seconds=50.0)
    with transaction(world.engine) as session:
        session.execute(update(Step).where(Step.id == held.step_id).values(started_at=clock(-60)))
    assert end_all_exhausted(world.engine) == 1
    with transaction(world.engine) as session:
        assert heartbeat(session, held, {}, 60) == "cancel"
    with transaction(world.engine) as session:
        release_step(session, held)
    assert steps(world, job_id) == {"cancelled"}
    check(world)


def test_phase_that_ends_over_budget_starts_no_other(world: World) -> None:
    job_id = world.submit()
    finish_phase(world, "baselines")
    while (held := claim(world)).phase == "sample":
        do_step(world, held)
    EFFECTS[held.phase](world, held)
    spend(world, job_id, 1000.0)
    limit(world, job_id, budget_gpu_seconds=1000.0)
    with transaction(world.engine) as session:
        finish_step(session, held, world.settings)
    assert world.job(job_id).status == "failed"
    assert steps(world, job_id) == {"succeeded"}
    check(world)


@pytest.mark.parametrize("seconds", [-1, 1000])
def test_paused_job_meets_its_deadline_when_it_is_resumed(world: World, seconds: int) -> None:
    job_id = world.submit()
    with transaction(world.engine) as session:
        pause_job(session, session.get_one(Job, job_id))
    limit(world, job_id, deadline_at=clock(seconds))
    assert end_all_exhausted(world.engine) == 0
    with transaction(world.engine) as session:
        resume_job(session, session.get_one(Job, job_id), world.settings)
    passed = seconds < 0
    assert end_all_exhausted(world.engine) == passed
    assert world.job(job_id).status == ("failed" if passed else "queued")


CONTROLLED: dict[str, Any] = {
    "controller": {"temperatures": [0.5, 1.0], "probe_examples": 6},
    "generation": {"max_tokens": 400, "samples_per_example": 2},
}


def in_control(world: World, iteration: int) -> Claim:
    """The claimed control step of this iteration, all steps before it done."""
    while (held := claim(world)).phase != "control" or held.iteration != iteration:
        do_step(world, held)
    return held


@pytest.mark.parametrize(("iteration", "status"), [(1, "failed"), (2, "succeeded")])
def test_budget_spent_while_temperatures_are_tried_ends_the_job(
    world: World, iteration: int, status: str
) -> None:
    job_id = world.submit(**CONTROLLED)
    limit(world, job_id, budget_gpu_seconds=1000.0)
    held = in_control(world, iteration)
    EFFECTS[held.phase](world, held)
    spend(world, job_id, 1000.0)
    with transaction(world.engine) as session:
        finish_step(session, held, world.settings)
    job = world.job(job_id)
    assert (job.status, job.stop_reason, job.iteration) == (status, "budget_exhausted", iteration)
    assert claim_step(world.engine, "worker:1", 60) is None
    check(world)


def test_deadline_that_passes_while_temperatures_are_tried_stops_the_probes(world: World) -> None:
    job_id = world.submit(**CONTROLLED)
    held = in_control(world, 1)
    limit(world, job_id, deadline_at=clock(-1))
    assert end_all_exhausted(world.engine) == 1
    with transaction(world.engine) as session:
        assert heartbeat(session, held, {}, 60) == "cancel"
    with transaction(world.engine) as session:
        release_step(session, held)
    assert (world.job(job_id).status, world.job(job_id).stop_reason) == ("failed", "deadline")
    check(world)
