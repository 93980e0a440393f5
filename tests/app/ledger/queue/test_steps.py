from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from app.database import clock, reading, transaction
from app.ledger.data.examples import load_examples
from app.ledger.events import list_events
from app.ledger.jobs.jobs import cancel_job, get_job, pause_job
from app.ledger.queue.reaper import reap
from app.ledger.queue.steps import (
    Claim,
    Fenced,
    claim_step,
    fail_step,
    finish_step,
    heartbeat,
    release_step,
)
from app.ledger.results.rationales import record_rationales
from app.ledger.transitions import ENDED_STEPS, STEP_TRANSITIONS, lock_job
from app.tables.jobs import Job, Outbox, Step
from app.tables.rationales import Rationale
from app.tables.statuses import StepStatus
from star_engine.sampling.rationales import Route
from tests.app.ledger.ledger_driver import a_try, claim, do_step, finish_job, finish_phase, sample
from tests.factories import TRAIN, World, make_world
from tests.faults.checker import check

ERROR = {
    "code": "gpu_process_died",
    "category": "platform",
    "message": "It died.",
    "hint": "Look at the log.",
}


def step_of(world: World, held: Claim) -> Step:
    with reading(world.engine) as session:
        return session.get_one(Step, held.step_id)


def expire(world: World, held: Claim) -> None:
    with transaction(world.engine) as session:
        session.execute(update(Step).where(Step.id == held.step_id).values(lease_until=clock(-1)))


def fail(world: World, held: Claim, *, retryable: bool = True) -> None:
    with transaction(world.engine) as session:
        error = {**ERROR, "log_tail": "last words"}
        fail_step(session, held, error, retryable=retryable, settings=world.settings)


def test_a_whole_job_leaves_a_ledger_that_adds_up(world: World) -> None:
    job_id = world.submit()
    finish_job(world)
    assert world.job(job_id).status == "succeeded"
    check(world)


def test_two_claimers_never_get_the_same_step(world: World) -> None:
    for _ in range(4):
        world.submit()
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda n: claim_step(world.engine, f"worker:{n}", 60), range(20)))
    taken = [held.step_id for held in claims if held is not None]
    assert len(taken) == len(set(taken)) == 4 * 4  # 8 held-out examples in shards of 6, two baselines


def test_claiming_starts_the_job_and_sets_lease_fence_and_attempt(world: World) -> None:
    job_id = world.submit()
    held = claim(world)
    step = step_of(world, held)
    assert (step.status, step.fence, step.attempt, step.lease_owner) == ("running", 1, 1, "worker:1")
    assert step.lease_until is not None
    assert (held.fence, held.attempt, held.phase, held.iteration) == (1, 1, "baselines", 0)
    assert world.job(job_id).status == "running"


def test_nothing_is_claimed_where_nothing_is_queued(world: World) -> None:
    assert claim_step(world.engine, "worker:1", 60) is None


def test_a_lost_claim_can_change_nothing(world: World) -> None:
    """Its step was reaped and is held by another worker now."""
    world.submit()
    finish_phase(world, "baselines")
    lost = claim(world)
    expire(world, lost)
    assert reap(world.engine, world.settings) == 1
    finish_others = [claim(world, "worker:2")]
    while finish_others[-1].step_id != lost.step_id:
        finish_others.append(claim(world, "worker:2"))
    assert finish_others[-1].fence == lost.fence + 1
    with pytest.raises(Fenced):
        sample(world, lost)
    for change in (
        lambda session: finish_step(session, lost, world.settings),
        lambda session: release_step(session, lost),
        lambda session: fail_step(session, lost, ERROR, retryable=True, settings=world.settings),
        lambda session: heartbeat(session, lost, {}, 60),
    ):
        with pytest.raises(Fenced), transaction(world.engine) as session:
            change(session)
    with reading(world.engine) as session:
        assert session.scalars(select(Rationale)).all() == []
    assert step_of(world, lost).lease_owner == "worker:2"


def test_recorded_tries_are_recorded_once_when_an_attempt_is_repeated(world: World) -> None:
    world.submit()
    finish_phase(world, "baselines")
    first = claim(world)
    sample(world, first)
    expire(world, first)
    reap(world.engine, world.settings)
    finish_phase(world, "sample")
    with reading(world.engine) as session:
        tries = session.scalars(select(Rationale)).all()
    assert len(tries) == TRAIN + TRAIN // 2  # every other one is wrong and rationalized


def test_text_with_a_nul_character_is_recorded(world: World) -> None:
    world.submit()
    finish_phase(world, "baselines")
    held = claim(world)
    with transaction(world.engine) as session:
        [(row_id, example)] = load_examples(session, held.dataset_id, "train", [0])
        item = a_try(example.id, Route.GENERATED, "wrong")
        record_rationales(
            session, held, [replace(item, text="a\0b", extracted="\0")], {example.id: row_id}, None
        )
    with reading(world.engine) as session:
        assert session.scalars(select(Rationale.text)).one() == "a\N{REPLACEMENT CHARACTER}b"


def test_a_heartbeat_prolongs_the_lease_and_brings_the_owners_wish(world: World) -> None:
    job_id = world.submit()
    held = claim(world, lease=1)
    before = step_of(world, held).lease_until
    with transaction(world.engine) as session:
        assert heartbeat(session, held, {"done": 3}, 60) == "continue"
    step = step_of(world, held)
    assert before is not None
    assert step.lease_until is not None
    assert step.lease_until > before
    assert step.progress == {"done": 3}
    with transaction(world.engine) as session:
        pause_job(session, get_job(session, world.project_id, job_id))
    with transaction(world.engine) as session:
        assert heartbeat(session, held, {}, 60) == "pause"
        cancel_job(session, get_job(session, world.project_id, job_id))
        assert heartbeat(session, held, {}, 60) == "cancel"


def test_handing_back_does_not_count_as_an_attempt_and_notifies(world: World) -> None:
    world.submit()
    held = claim(world)
    with transaction(world.engine) as session:
        session.execute(delete(Outbox))
    with transaction(world.engine) as session:
        release_step(session, held)
    step = step_of(world, held)
    assert (step.status, step.attempt, step.fence, step.lease_until) == ("queued", 0, 1, None)
    with reading(world.engine) as session:
        assert session.scalars(select(Outbox.step_id)).all() == [held.step_id]


def test_the_last_attempt_fails_the_job_with_code_place_and_log_tail(world: World) -> None:
    job_id = world.submit()
    first = claim(world)
    fail(world, first)
    assert step_of(world, first).status == "queued"
    while (held := claim(world)).step_id != first.step_id:
        pass
    fail(world, held)
    job = world.job(job_id)
    assert job.status == "failed"
    place = {"phase": "baselines", "iteration": 0, "shard": first.shard, "attempt": 2}
    assert job.status_reason == {**ERROR, "log_tail": "last words", **place}
    with reading(world.engine) as session:
        events = list_events(session, job_id, 0, 1000)
        step_statuses = {step.status for step in session.scalars(select(Step))}
    assert [event.type for event in events][-2:] == ["step.retried", "job.failed"]
    assert "log_tail" not in events[-1].data
    assert step_statuses <= {"failed", "cancelled", "running"}  # the running ones hear of it by heartbeat


def test_an_error_that_cannot_be_retried_fails_the_job_at_once(world: World) -> None:
    job_id = world.submit()
    fail(world, claim(world), retryable=False)
    assert world.job(job_id).status == "failed"
    assert claim_step(world.engine, "worker:1", 60) is None  # what waited is dropped


def test_a_failed_job_tells_its_other_workers_to_stop(world: World) -> None:
    world.submit()
    one, other = claim(world), claim(world)
    fail(world, one, retryable=False)
    with transaction(world.engine) as session:
        assert heartbeat(session, other, {}, 60) == "cancel"
    with transaction(world.engine) as session:
        release_step(session, other)
    assert step_of(world, other).status == "cancelled"
    check(world)


def test_only_an_expired_lease_is_reaped_and_by_one_reaper(world: World) -> None:
    world.submit()
    one, other = claim(world), claim(world)
    assert reap(world.engine, world.settings) == 0
    expire(world, one)
    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(lambda _: reap(world.engine, world.settings), range(4))) == 1
    assert (step_of(world, one).status, step_of(world, other).status) == ("queued", "running")
    assert step_of(world, one).attempt == 1  # the next claim makes it 2


def test_a_worker_lost_at_the_last_attempt_fails_the_job(world: World) -> None:
    job_id = world.submit()
    held = claim(world)
    for _ in range(2):
        expire(world, held)
        reap(world.engine, world.settings)
        if world.job(job_id).status == "failed":
            break
        again = claim(world)
        while again.step_id != held.step_id:
            again = claim(world)
        held = again
    job = world.job(job_id)
    assert job.status == "failed"
    assert job.status_reason is not None
    assert (job.status_reason["code"], job.status_reason["attempt"]) == ("worker_lost", 2)


def test_recording_does_not_wait_for_a_holder_of_the_jobs_lock(
    postgresql_database_url: str, tmp_path: Path
) -> None:
    """Reaping locks job then step; recording locks the step and inserts rows that refer to the job."""
    world = make_world(postgresql_database_url, tmp_path / "home")
    job_id = world.submit()
    finish_phase(world, "baselines")
    held = claim(world)
    with transaction(world.engine) as other:
        lock_job(other, job_id)
        sample(world, held)


def test_every_legal_move_of_a_step_is_listed_and_what_has_ended_can_only_be_queued_again() -> None:
    assert set(STEP_TRANSITIONS) == set(StepStatus)
    assert {status: STEP_TRANSITIONS[status] for status in ENDED_STEPS} == {
        StepStatus.SUCCEEDED: frozenset(),
        StepStatus.FAILED: {StepStatus.QUEUED},
        StepStatus.CANCELLED: {StepStatus.QUEUED},
    }


def test_the_first_claim_of_the_next_phase_waits_for_the_last_step_of_this_one(world: World) -> None:
    world.submit()
    finish_phase(world, "baselines")
    first, *rest = [claim(world) for _ in range(3)]
    for held in rest:
        do_step(world, held)
    assert claim_step(world.engine, "worker:2", 60) is None
    do_step(world, first)
    assert claim(world).phase == "build"


def test_the_event_log_of_a_job_has_no_gaps_when_many_write(world: World) -> None:
    job_id = world.submit()
    held = [claim(world) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: fail(world, one), held))
    with reading(world.engine) as session:
        events = list_events(session, job_id, 0, 1000)
        job = session.scalars(select(Job)).one()
    assert [event.seq for event in events] == list(range(1, job.events_written + 1))
    assert sum(event.type == "step.retried" for event in events) == 4
