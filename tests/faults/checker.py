"""One check after every scenario: nothing is lost, nothing doubled, whatever was killed on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import pairwise
from typing import Any

from sqlalchemy import select
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from app.database import clock, reading
from app.ledger.results.iterations import config_of
from app.ledger.results.preference_pairs import recorded_pairs
from app.ledger.results.rationales import trained_rows, training_rows
from app.ledger.transitions import JOB_TRANSITIONS
from app.storage import Storage
from app.tables.candidates import Candidate, QuestionCurve, VerifierCurve
from app.tables.jobs import Event, Iteration, Job, Step
from app.tables.rationales import Adapter, Evaluation, Rationale
from app.tables.statuses import OPEN_STEPS, JobStatus, StepStatus
from app.tables.usage import Usage
from star_engine.adapters.roles import AdapterRole
from star_engine.config.selection import SelectionOrder
from star_engine.config.star import StarConfig
from star_engine.evaluation.accuracy import adapter_modes
from star_engine.loop import PhaseName, StopReason, closing_phases, phases_of
from star_engine.sampling.rationales import Route
from star_engine.training_set.pairs import pairs_sha256
from star_engine.training_set.rows import training_set_sha256
from tests.factories import TRAIN, VALIDATION, World
from tests.platforms import Platform

# What a worker says of the end of a claim, and what the ledger must then hold for it.
RECORDED = {"finished": "succeeded", "failed": "failed", "handed_back": "handed_back"}
OVER_BUDGET = {StopReason.BUDGET_EXHAUSTED, StopReason.DEADLINE}  # ends a job wherever it is


def check(world: World, *, platform: Platform | None = None, at_rest: bool = True) -> None:
    """Raises AssertionError for whatever is wrong with any job of this world.

    at_rest: every job is expected to have ended (or to be paused), and no step to be running.
    """
    with reading(world.engine) as session:
        for job in session.scalars(select(Job)):
            _check_history(session, job)
            _check_steps(session, job, at_rest)
            _check_order(session, job)
            for iteration in session.scalars(select(Iteration).where(Iteration.job_id == job.id)):
                _check_iteration(session, world, job, iteration)
            if job.status == JobStatus.SUCCEEDED and job.stop_reason not in OVER_BUDGET:
                _check_success(session, job)
            if at_rest:
                statuses = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.PAUSED)
                assert job.status in statuses, f"{job.id} is {job.status}"
    if platform is not None:
        check_logs(world, platform)


def check_logs(world: World, platform: Platform) -> None:
    """Fences rise with every claim of a step, each end of a claim is recorded as its own, at most one claim
    finishes a step, and no secret is in any log."""
    fences: dict[str, list[int]] = {}
    finished: Counter[str] = Counter()
    said = list(platform.log_events())  # first: what is said is recorded by then
    with reading(world.engine) as session:
        last = {step.id: step.fence for step in session.scalars(select(Step))}
        there = set(session.scalars(select(Job.id)))
        ends = {(claim.step_id, claim.fence): claim.outcome for claim in session.scalars(select(Usage))}
    for event in said:
        if event["event"] == "step_started":
            fences.setdefault(event["step"], []).append(event["fence"])
        if event["event"] == "step_ended" and event["outcome"] == "finished":
            finished[event["step"]] += 1
            step, fence = event["step"], event["fence"]
            if event["job"] not in there:  # deleted since, and its steps with it
                continue
            assert fence == last[step], f"{step} was finished under fence {fence}, it is at {last[step]}"
        if event["event"] == "step_ended" and event["outcome"] in RECORDED:
            _check_end(event, ends)
    for step, seen in fences.items():
        assert len(seen) == len(set(seen)), f"{step} was claimed twice under one fence: {sorted(seen)}"
    assert not [step for step, times in finished.items() if times > 1], "a step was finished twice"
    password = make_url(world.settings.resolved_database_url()).password
    for path in platform.logs.glob("*.log"):
        assert not (password and str(password) in path.read_text(errors="replace")), f"password in {path}"


def _check_end(event: dict[str, Any], ends: dict[tuple[str, int], str]) -> None:
    """What a worker recorded for a claim is recorded under the fence of that claim."""
    step, fence, outcome = event["step"], event["fence"], event["outcome"]
    found = ends.get((step, fence))
    assert found == RECORDED[outcome], f"{step} was {outcome} under fence {fence}, the ledger says {found}"


def _check_history(session: Session, job: Job) -> None:
    events = session.scalars(select(Event).where(Event.job_id == job.id).order_by(Event.seq)).all()
    assert [event.seq for event in events] == list(range(1, job.events_written + 1)), "events have gaps"
    path = [JobStatus.VALIDATING]
    path += [JobStatus(name) for event in events if (name := _status_of(event)) is not None]
    for before, after in pairwise(path):
        assert after in JOB_TRANSITIONS[before], f"{job.id}: {before} -> {after}"
    assert path[-1] == job.status
    ended = Counter(
        (event.data["iteration"], event.data["phase"]) for event in events if event.type == "phase.finished"
    )
    assert not [phase for phase, times in ended.items() if times > 1], f"phases ended twice: {ended}"


def _status_of(event: Event) -> str | None:
    kind, _, name = event.type.partition(".")
    return name if kind == "job" and name in set(JobStatus) else None


def _check_steps(session: Session, job: Job, at_rest: bool) -> None:
    steps = session.scalars(select(Step).where(Step.job_id == job.id)).all()
    now = session.scalar(select(clock()))
    assert now is not None
    for step in steps:
        running = step.status == StepStatus.RUNNING
        assert running == (step.lease_until is not None) == (step.lease_owner is not None), step.id
        assert not (running and at_rest), f"{step.id} is running under a lease until {step.lease_until}"
        assert step.fence >= step.attempt
        assert (step.finished_at is not None) == (step.status not in OPEN_STEPS)
    if JobStatus(job.status) in (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED) and at_rest:
        assert not [step.id for step in steps if step.status in OPEN_STEPS], (
            f"open steps of {job.id}, {job.status}"
        )


def _check_order(session: Session, job: Job) -> None:
    """An iteration's rationales lie side by side: a page of them is a range of ids."""
    numbers = select(Rationale.iteration_number).where(Rationale.job_id == job.id).order_by(Rationale.id)
    found = session.scalars(numbers).all()
    assert found == sorted(found), f"rationales of {job.id} lie among those of another iteration"


def _check_iteration(session: Session, world: World, job: Job, iteration: Iteration) -> None:
    config = config_of(job, iteration)
    done = [PhaseName(name) for name in iteration.phases_done]
    expected = list(phases_of(config, iteration.number))
    if iteration.number == config.iterations:
        expected += closing_phases(config)
    assert done == expected[: len(done)], f"phases of iteration {iteration.number}: {done}"
    if PhaseName.SAMPLE in done:
        _check_rationales(session, config, iteration)
    if PhaseName.BUILD in done:
        _check_training_set(session, iteration)
    if PhaseName.VERIFY_ADAPTER in done:
        _check_adapter(session, world, job, iteration)
    if PhaseName.BASELINES in done:
        _check_evaluations(session, iteration, config.evaluation.baselines)
    if PhaseName.EVALUATE in done:
        _check_evaluations(session, iteration, adapter_modes(config))
    if PhaseName.PAIRS in done:
        _check_pairs(session, config, iteration)
    if PhaseName.VERIFY_VERIFIER in done:
        _check_verifier(session, job, iteration)
    if PhaseName.TEST_TIME in done:
        _check_candidates(session, config, iteration)


def _check_rationales(session: Session, config: StarConfig, iteration: Iteration) -> None:
    tries = session.scalars(select(Rationale).where(Rationale.iteration_id == iteration.id)).all()
    generated = Counter(item.example_id for item in tries if item.route == Route.GENERATED)
    wanted = min(config.examples_per_iteration or TRAIN, TRAIN)
    if config.selection.order is SelectionOrder.ADAPTIVE:  # as many as its waves asked
        wanted = iteration.metrics["selection"]["asked"]
    assert len(generated) == wanted, f"{len(generated)} of {wanted} examples were asked"
    assert set(generated.values()) == {config.generation.samples_per_example}
    rationalized = Counter(item.example_id for item in tries if item.route == Route.RATIONALIZED)
    assert set(rationalized.values()) <= {1}
    solved = {
        item.example_id for item in tries if item.route == Route.GENERATED and item.verdict == "correct"
    }
    if config.rationalization.enabled and config.rationalization.probability == 1:
        assert set(rationalized) == set(generated) - solved, "rationalized are exactly the failures"
    if config.hints is not None and config.hinted_in(iteration.number):
        hinted = Counter(item.example_id for item in tries if item.route == Route.HINTED)
        assert hinted == dict.fromkeys(set(generated) - solved, config.hints.tries)


def _check_training_set(session: Session, iteration: Iteration) -> None:
    rows = list(training_rows(session, iteration.id))
    assert [row.position for row, _, _ in rows] == list(range(len(rows)))
    kept = session.scalars(
        select(Rationale).where(Rationale.iteration_id == iteration.id, Rationale.decision == "kept")
    ).all()
    assert {row.rationale_id for row, _, _ in rows} == {item.id for item in kept}
    assert sum(iteration.metrics["kept"].values()) == len(rows)
    assert training_set_sha256(trained_rows(session, iteration.id)) == iteration.training_set_sha256


def _check_adapter(session: Session, world: World, job: Job, iteration: Iteration) -> None:
    adapters = session.scalars(
        select(Adapter).where(
            Adapter.job_id == job.id,
            Adapter.iteration_number == iteration.number,
            Adapter.role == AdapterRole.GENERATOR,
        )
    ).all()
    assert len(adapters) == 1
    assert adapters[0].verification is not None
    storage = Storage(world.settings.resolved_storage_url())
    for entry in adapters[0].files:
        size = storage.size(entry["sha256"])
        digest = sha256(b"".join(storage.open_range(entry["sha256"], 0, size)))
        assert (size, digest.hexdigest()) == (entry["size_bytes"], entry["sha256"]), entry


def _check_pairs(session: Session, config: StarConfig, iteration: Iteration) -> None:
    rows = recorded_pairs(session, iteration.id)
    assert [row.position for row in rows] == list(range(len(rows)))
    assert rows, "a job of two iterations has questions that were wrong and then right"
    verifier = config.trained_verifier
    yes_no = verifier is not None and verifier.method == "yes_no"  # it needs no reference
    assert yes_no or all(row.is_scored for row in rows)
    facts = iteration.metrics["pairs"]
    assert (facts["count"], facts["sha256"]) == (len(rows), pairs_sha256(rows))


def _check_verifier(session: Session, job: Job, iteration: Iteration) -> None:
    found = session.scalars(
        select(Adapter).where(
            Adapter.job_id == job.id,
            Adapter.iteration_number == iteration.number,
            Adapter.role == AdapterRole.VERIFIER,
        )
    ).all()
    assert len(found) == 1
    assert found[0].verification is not None
    curve = session.scalars(select(VerifierCurve).where(VerifierCurve.iteration_id == iteration.id)).one()
    assert [row[0] for row in curve.steps] == list(range(1, found[0].training["steps"] + 1))


def _check_evaluations(session: Session, iteration: Iteration, modes: Iterable[str]) -> None:
    answers = session.scalars(select(Evaluation).where(Evaluation.iteration_id == iteration.id)).all()
    assert Counter(item.mode for item in answers) == dict.fromkeys(modes, VALIDATION)
    keys: Sequence[tuple[str, int]] = [(item.mode, item.example_id) for item in answers]
    assert len(keys) == len(set(keys))


def _check_candidates(session: Session, config: StarConfig, iteration: Iteration) -> None:
    test_time = config.evaluation.test_time
    assert test_time is not None
    found = session.scalars(select(Candidate).where(Candidate.iteration_id == iteration.id)).all()
    keys = {(one.example_id, one.sample) for one in found}
    assert len(found) == len(keys) == VALIDATION * test_time.samples
    ranked = test_time.ranker is not None and iteration.number > 0
    scorers = {"generator", "verifier", "reference"} if ranked else {"generator"}
    assert all(set(one.scores or {}) == scorers for one in found)
    curves = session.scalars(select(QuestionCurve).where(QuestionCurve.iteration_id == iteration.id)).all()
    assert sorted(one.example_id for one in curves) == sorted({one.example_id for one in found})


def _check_success(session: Session, job: Job) -> None:
    config = job.config
    numbers = session.scalars(
        select(Iteration.number).where(Iteration.job_id == job.id).order_by(Iteration.number)
    ).all()
    first = 0 if config.evaluation.baselines else 1
    assert list(numbers) == list(range(first, config.iterations + 1))
