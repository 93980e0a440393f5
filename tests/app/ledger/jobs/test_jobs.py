from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from sqlalchemy import select, update

from app.database import clock, reading, transaction
from app.errors import Conflict, Invalid
from app.ledger.events import list_events
from app.ledger.jobs.facts import best_of, progress_of
from app.ledger.jobs.jobs import (
    cancel_job,
    get_job,
    pause_job,
    remember_key,
    replayed_job,
    resume_job,
)
from app.ledger.queue.capacity import DEFAULT_QUEUE
from app.ledger.queue.outbox import relay
from app.ledger.queue.reaper import notify_again
from app.ledger.queue.steps import claim_step, fail_step, heartbeat, release_step
from app.ledger.transitions import JOB_TRANSITIONS, TERMINAL, IllegalTransition, lock_job, move_job
from app.tables.jobs import IdempotencyKey, Iteration, Job, Outbox, Step
from app.tables.statuses import JobStatus
from tests.app.ledger.ledger_driver import claim, do_step, finish_job, finish_phase
from tests.factories import TRAIN, VALIDATION, World
from tests.faults.checker import check

PHASES = ["baselines", "sample", "build", "train", "verify_adapter", "evaluate"]


def ask(world: World, job_id: str, verb: str) -> None:
    with transaction(world.engine) as session:
        job = get_job(session, world.project_id, job_id)
        if verb == "resume":
            resume_job(session, job, world.settings)
        else:
            {"cancel": cancel_job, "pause": pause_job}[verb](session, job)


def until(world: World, phase: str) -> None:
    """Do every step before this phase."""
    before = PHASES.index(phase)
    if before:
        finish_phase(world, PHASES[before - 1])


def test_every_status_is_listed_and_of_the_terminal_ones_only_a_failure_has_a_way_out() -> None:
    assert set(JOB_TRANSITIONS) == set(JobStatus)
    ways_out = {status: JOB_TRANSITIONS[status] for status in TERMINAL}
    assert ways_out == {
        JobStatus.CANCELLED: frozenset(),
        JobStatus.SUCCEEDED: frozenset(),
        JobStatus.FAILED: {JobStatus.QUEUED, JobStatus.RUNNING},
    }


def test_only_listed_moves_are_made(world: World) -> None:
    job_id = world.submit()
    for old in JobStatus:
        for new in JobStatus:
            with transaction(world.engine) as session:
                session.execute(update(Job).values(status=old.value))
                job = lock_job(session, job_id)
                if new in JOB_TRANSITIONS[old]:
                    move_job(session, job, new)
                    assert job.status == new
                else:
                    with pytest.raises(IllegalTransition):
                        move_job(session, job, new)


@pytest.mark.parametrize("phase", PHASES)
def test_a_job_is_paused_and_resumed_in_each_phase_and_repeats_nothing(world: World, phase: str) -> None:
    job_id = world.submit(iterations=1)
    until(world, phase)
    held = claim(world)
    assert held.phase == phase
    ask(world, job_id, "pause")
    assert world.job(job_id).status == "pausing"
    with transaction(world.engine) as session:
        assert heartbeat(session, held, {}, 60) == "pause"
        release_step(session, held)
    assert world.job(job_id).status == "paused"
    assert claim_step(world.engine, "worker:1", 60) is None
    ask(world, job_id, "pause")  # asking twice is asking once
    ask(world, job_id, "resume")
    ask(world, job_id, "resume")
    finish_job(world)
    assert world.job(job_id).status == "succeeded"
    check(world)


@pytest.mark.parametrize("phase", PHASES)
def test_a_job_is_cancelled_in_each_phase(world: World, phase: str) -> None:
    job_id = world.submit(iterations=1)
    until(world, phase)
    held = claim(world)
    ask(world, job_id, "cancel")
    assert world.job(job_id).status == "cancelling"
    ask(world, job_id, "cancel")
    with transaction(world.engine) as session:
        release_step(session, held)
    job = world.job(job_id)
    assert (job.status, job.stop_reason) == ("cancelled", "user_cancelled")
    for verb in ("pause", "resume"):
        with pytest.raises(Conflict):
            ask(world, job_id, verb)
    ask(world, job_id, "cancel")  # cancelled is what was asked for
    check(world)


def test_a_queued_job_is_cancelled_or_paused_at_once(world: World) -> None:
    one, other = world.submit(), world.submit()
    ask(world, one, "cancel")
    ask(world, other, "pause")
    assert (world.job(one).status, world.job(other).status) == ("cancelled", "paused")
    ask(world, other, "resume")
    assert world.job(other).status == "queued"
    ask(world, other, "pause")
    ask(world, other, "cancel")
    assert world.job(other).status == "cancelled"
    check(world)


def test_a_step_that_ends_while_its_job_pauses_counts_and_the_next_phase_is_held(world: World) -> None:
    job_id = world.submit(iterations=1)
    until(world, "build")
    held = claim(world)
    ask(world, job_id, "pause")
    do_step(world, held)
    job = world.job(job_id)
    assert (job.status, job.phase) == ("paused", "train")
    assert claim_step(world.engine, "worker:1", 60) is None
    ask(world, job_id, "resume")
    assert claim(world).phase == "train"


def test_a_step_that_fails_while_its_job_pauses_is_held_and_not_counted_out(world: World) -> None:
    job_id = world.submit(iterations=1)
    held = claim(world)
    ask(world, job_id, "pause")
    error = {"code": "x", "category": "platform", "message": "", "hint": ""}
    with transaction(world.engine) as session:
        fail_step(session, held, error, retryable=False, settings=world.settings)
    assert world.job(job_id).status == "paused"


def test_cancelling_and_finishing_have_one_winner(world: World) -> None:
    """Both at once, many times: the job ends in one of the two, never in both."""
    for _ in range(5):
        job_id = world.submit(iterations=1)
        until(world, "evaluate")
        steps = list(iter(lambda: claim_step(world.engine, "w", 60), None))
        for held in steps[:-1]:
            do_step(world, held)

        def cancel(job_id: str = job_id) -> None:
            with suppress(Conflict):
                ask(world, job_id, "cancel")

        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(do_step, world, steps[-1]), pool.submit(cancel)]:
                done.result()
        assert world.job(job_id).status in ("succeeded", "cancelled")
    check(world)


def test_a_finished_job_can_be_neither_cancelled_nor_paused_nor_resumed(world: World) -> None:
    job_id = world.submit(iterations=1)
    finish_job(world)
    for verb in ("cancel", "pause", "resume"):
        with pytest.raises(Conflict, match="succeeded"):
            ask(world, job_id, verb)


def test_an_idempotency_key_finds_its_job_and_refuses_another_request(world: World) -> None:
    job_id = world.submit()
    with transaction(world.engine) as session:
        remember_key(session, session.get_one(Job, job_id), "key", "fingerprint")
    with transaction(world.engine) as session:
        found = replayed_job(session, world.project_id, "key", "fingerprint")
        assert found is not None
        assert found.id == job_id
        assert replayed_job(session, "another", "key", "fingerprint") is None
        with pytest.raises(Invalid, match="another request"):
            replayed_job(session, world.project_id, "key", "else")
        assert len(session.scalars(select(IdempotencyKey)).all()) == 1


def test_metrics_add_up_to_what_was_recorded(world: World) -> None:
    job_id = world.submit(iterations=1)
    finish_job(world)
    with reading(world.engine) as session:
        base, first = session.scalars(select(Iteration).order_by(Iteration.number))
        events = list_events(session, job_id, 0, 1000)
    sampled = first.metrics["sampled"]
    assert sampled["generated"] == {"correct": TRAIN / 2, "wrong": TRAIN / 2}
    assert sampled["rationalized"] == {"correct": TRAIN / 2}
    assert first.metrics["solve_rate"] == 0.5
    assert first.metrics["kept"] == {"generated": TRAIN / 2, "rationalized": TRAIN / 2}
    assert first.metrics["dropped"] == {"generated": {"wrong": TRAIN / 2}, "rationalized": {}}
    assert first.metrics["coverage"] == {"generated": 0.5, "rationalized": 0.5, "total": 1.0}
    assert first.metrics["evaluated"]["n"] == VALIDATION
    assert first.metrics["accuracy"] == 4 / VALIDATION  # two shards, two right in each
    assert base.metrics["accuracy"] == 2 / VALIDATION
    assert set(first.metrics["seconds"]) == set(PHASES[1:])
    assert [event.data["phase"] for event in events if event.type == "phase.finished"] == PHASES


def test_the_best_iteration_has_the_highest_accuracy_and_is_the_earlier_on_a_tie(
    world: World,
) -> None:
    job_id = world.submit(iterations=2)
    with reading(world.engine) as session:
        assert best_of(session, [job_id]).get(job_id) is None
    finish_job(world)
    with transaction(world.engine) as session:
        best = best_of(session, [job_id]).get(job_id)
        assert best is not None
        assert (best["iteration"], best["accuracy"]) == (2, 6 / VALIDATION)
        for row in session.scalars(select(Iteration).where(Iteration.number > 0)):
            row.metrics = {**row.metrics, "accuracy": 0.5}
    with reading(world.engine) as session:
        best = best_of(session, [job_id]).get(job_id)
        assert best is not None
        assert best["iteration"] == 1


def test_progress_counts_finished_and_reported_examples(world: World) -> None:
    job_id = world.submit()
    until(world, "sample")
    first = claim(world)
    first_size = first.work["stop"] - first.work["start"]
    do_step(world, first)
    held = claim(world)
    with transaction(world.engine) as session:
        heartbeat(session, held, {"done": 2, "total": 5, "unit": "examples"}, 60)
    with reading(world.engine) as session:
        progress = progress_of(session, [job_id])[job_id]
    counted = {"done": first_size + 2, "total": TRAIN, "unit": "examples"}
    assert progress == {**counted, "loading_seconds": None}


def test_a_model_that_is_being_loaded_is_seen_until_its_step_is_handed_back(world: World) -> None:
    job_id = world.submit()
    until(world, "sample")
    held = claim(world)
    with transaction(world.engine) as session:
        heartbeat(session, held, {"loading_seconds": 40}, 60)
    with reading(world.engine) as session:
        assert progress_of(session, [job_id])[job_id]["loading_seconds"] == 40
    with transaction(world.engine) as session:
        release_step(session, held)
    with reading(world.engine) as session:
        assert progress_of(session, [job_id])[job_id]["loading_seconds"] is None


def test_rings_are_sent_once_and_a_broker_that_refuses_keeps_them(world: World) -> None:
    world.submit()
    sent: list[str] = []

    def send(step_id: str, queue: str) -> None:
        assert queue == DEFAULT_QUEUE
        sent.append(step_id)

    def refuse(step_id: str, queue: str) -> None:
        if len(sent) == 2:
            raise ConnectionError
        send(step_id, queue)

    with pytest.raises(ConnectionError):
        relay(world.engine, refuse)
    assert len(sent) == 2
    assert relay(world.engine, send) == 2
    assert relay(world.engine, send) == 0
    with reading(world.engine) as session:
        assert sorted(sent) == sorted(session.scalars(select(Step.id)))


def test_a_step_that_nobody_took_is_notified_again_but_once_while_the_broker_is_down(
    world: World,
) -> None:
    world.submit()
    assert notify_again(world.engine, world.settings) == 0  # its first notification is still waiting
    relay(world.engine, lambda *_: None)  # and is lost
    assert notify_again(world.engine, world.settings) == 0  # too early
    with transaction(world.engine) as session:
        session.execute(update(Step).values(created_at=clock(-100), notified_at=clock(-100)))
    assert notify_again(world.engine, world.settings) == 4
    with transaction(world.engine) as session:
        session.execute(update(Step).values(notified_at=clock(-100)))
    assert notify_again(world.engine, world.settings) == 0
    with reading(world.engine) as session:
        assert len(session.scalars(select(Outbox)).all()) == 4
