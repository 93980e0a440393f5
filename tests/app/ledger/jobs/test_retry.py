"""A failed job goes on where somebody retries it, and what the platform has failed is waited out."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from app.database import clock, reading, transaction
from app.errors import Conflict
from app.ledger.events import list_events
from app.ledger.jobs.jobs import get_job, pause_job, resume_job
from app.ledger.jobs.retry import retry_job
from app.ledger.queue.position import place_of, read_queue
from app.ledger.queue.reaper import notify_again
from app.ledger.queue.steps import Claim, claim_step, fail_step
from app.tables.jobs import Job, Outbox, Step
from app.tables.rationales import Adapter, Rationale
from tests.app.ledger.ledger_driver import claim, do_step, finish_job, finish_phase
from tests.factories import World
from tests.faults.checker import check

FULL = {"code": "disk_full", "category": "platform", "message": "no space", "hint": ""}
BROKEN = {"code": "bad_artifact", "category": "platform", "message": "broken", "hint": ""}


def fail(world: World, held: Claim, *, passes: bool) -> None:
    with transaction(world.engine) as session:
        error = FULL if passes else BROKEN
        fail_step(session, held, error, retryable=passes, passes=passes, settings=world.settings)


def retry(world: World, job_id: str) -> Job:
    with transaction(world.engine) as session:
        return retry_job(session, get_job(session, world.project_id, job_id), world.settings)


def step_of(world: World, held: Claim) -> Step:
    with reading(world.engine) as session:
        return session.get_one(Step, held.step_id)


def let_pass(world: World, held: Claim) -> None:
    with transaction(world.engine) as session:
        session.get_one(Step, held.step_id).not_before = clock(-1)


def fail_at(world: World, phase: str) -> str:
    """A job that has failed for good in its first iteration, at a step of this phase."""
    job_id = world.submit(iterations=2)
    while (held := claim(world)).phase != phase:
        do_step(world, held)
    fail(world, held, passes=False)
    assert world.job(job_id).status == "failed"
    return job_id


def test_failure_of_the_platform_uses_up_no_attempt_however_often_it_comes(world: World) -> None:
    job_id = world.submit(iterations=1)
    for _ in range(3 * world.settings.max_attempts):
        held = claim(world)
        assert held.attempt == 1
        fail(world, held, passes=True)
        let_pass(world, held)
    finish_job(world)
    assert world.job(job_id).status == "succeeded"
    check(world)


def test_failure_of_the_platform_that_does_not_pass_ends_the_job_with_its_reason(world: World) -> None:
    settings = world.settings.model_copy(update={"retry_limit": 4})
    job_id = world.submit(iterations=1)
    failures = 0
    while world.job(job_id).status != "failed":
        held = claim(world)
        with transaction(world.engine) as session:
            fail_step(session, held, FULL, retryable=True, passes=True, settings=settings)
        let_pass(world, held)
        failures += 1
    assert failures == 4 + settings.max_attempts
    assert (world.job(job_id).status_reason or {})["code"] == "disk_full"
    retry(world, job_id)
    held = claim(world)
    fail(world, held, passes=True)
    assert (step_of(world, held).passing_failures, world.job(job_id).status) == (1, "running")


def test_pauses_grow_up_to_the_longest(world: World) -> None:
    world.submit(iterations=1)
    pauses = []
    for _ in range(9):
        held = claim(world)
        fail(world, held, passes=True)
        with reading(world.engine) as session:
            now = session.scalars(select(clock())).one()
        due = step_of(world, held).not_before
        assert due is not None
        pauses.append((due - now).total_seconds())
        let_pass(world, held)
    expected = [5.0 * 3**n for n in range(6)] + [3600.0] * 3
    for pause, longest in zip(pauses, expected, strict=True):
        assert longest / 2 - 2 < pause <= longest


def test_step_that_waits_is_neither_claimed_nor_notified_of_before_its_time(world: World) -> None:
    job_id = world.submit(iterations=1, examples_per_iteration=6, evaluation={"baselines": []})
    held = claim(world)
    fail(world, held, passes=True)
    with transaction(world.engine) as session:
        for waiting in session.scalars(select(Outbox)):
            session.delete(waiting)
        session.get_one(Step, held.step_id).created_at = clock(-3600)
    assert claim_step(world.engine, "worker:1", 60) is None
    assert notify_again(world.engine, world.settings) == 0
    with reading(world.engine) as session:
        place = place_of(read_queue(session), session.get_one(Job, job_id))
    assert (place.reason, place.position) == ("retrying", None)
    let_pass(world, held)
    assert notify_again(world.engine, world.settings) == 1
    assert claim(world).step_id == held.step_id


def test_resuming_a_paused_job_does_not_wait_any_longer(world: World) -> None:
    job_id = world.submit(iterations=1)
    held = claim(world)
    fail(world, held, passes=True)
    with transaction(world.engine) as session:
        job = get_job(session, world.project_id, job_id)
        pause_job(session, job)
    with transaction(world.engine) as session:
        resume_job(session, get_job(session, world.project_id, job_id), world.settings)
    assert step_of(world, held).not_before is None


@pytest.mark.parametrize("phase", ["baselines", "sample", "build", "train", "verify_adapter", "evaluate"])
def test_retried_job_goes_on_from_the_step_that_failed(world: World, phase: str) -> None:
    job_id = fail_at(world, phase)
    with reading(world.engine) as session:
        recorded = set(session.scalars(select(Rationale.id)))
    job = retry(world, job_id)
    assert (job.status, job.status_reason, job.finished_at) == ("running", None, None)
    finish_job(world)
    assert world.job(job_id).status == "succeeded"
    with reading(world.engine) as session:
        assert recorded <= set(session.scalars(select(Rationale.id)))
        events = [event.type for event in list_events(session, job_id, 0, 1000)]
    assert events.count("job.retried") == 1
    check(world)


def test_retry_asked_twice_is_one_retry(world: World) -> None:
    job_id = fail_at(world, "sample")
    retry(world, job_id)
    written = world.job(job_id).events_written
    retry(world, job_id)
    assert world.job(job_id).events_written == written


def test_step_that_fails_again_has_all_its_attempts(world: World) -> None:
    job_id = fail_at(world, "train")
    retry(world, job_id)
    assert claim(world).attempt == 1


@pytest.mark.parametrize("status", ["succeeded", "cancelled"])
def test_only_a_failed_job_can_be_retried(world: World, status: str) -> None:
    job_id = world.submit(iterations=1)
    finish_job(world)
    with transaction(world.engine) as session:
        session.get_one(Job, job_id).status = status  # type: ignore[assignment]
    with pytest.raises(Conflict, match="only a failed one"):
        retry(world, job_id)


def test_job_whose_adapter_was_deleted_cannot_be_retried(world: World) -> None:
    job_id = world.submit(iterations=2)
    finish_phase(world, "verify_adapter")
    fail(world, claim(world), passes=False)
    with transaction(world.engine) as session:
        session.scalars(select(Adapter)).one().deleted_at = clock()
    with pytest.raises(Conflict, match="has been deleted"):
        retry(world, job_id)
