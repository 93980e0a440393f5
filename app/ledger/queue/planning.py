"""What a job does next: the engine's next_phase(), asked whenever a phase ends, in that transaction.

Phases end in order, one after the other. Steps may begin before their phase does: where the sample phase
after an evaluation is certain, both are planned together, and no worker waits for the last held-out answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, exists, func, select
from sqlalchemy.orm import Session

from app.database import clock, new_id
from app.ledger.data.examples import split_size
from app.ledger.events import append_event
from app.ledger.queue.budgets import end_exhausted
from app.ledger.queue.outbox import notify
from app.ledger.queue.waves import asked_positions, begin_selection, continue_selection, selection_of
from app.ledger.results.completion_cache import reused_in
from app.ledger.results.counts import IterationCounts
from app.ledger.transitions import move_job
from app.settings import Settings
from app.tables.base import JsonObject
from app.tables.jobs import Iteration, Job, Step
from app.tables.rationales import Adapter
from app.tables.statuses import OPEN_STEPS, JobStatus, Purpose, StepStatus
from app.tracing.spans import traceparent
from star_engine.config.star import StarConfig
from star_engine.evaluation.accuracy import select_held_out
from star_engine.loop import (
    MEASURING,
    IterationHistory,
    Pause,
    PhaseName,
    PhaseRef,
    Stop,
    StopReason,
    next_in_any_case,
    next_phase,
    phases_of,
)
from star_engine.phases.build import own_rows
from star_engine.phases.table import phase_of


def advance(session: Session, job: Job, settings: Settings) -> None:
    """Close the job's phase if its last step is done, then start the next one, or end or pause the job.

    The caller holds the job's row lock.
    """
    if job.phase is not None:
        if _has_open_steps(session, job, job.phase):
            return
        if phase_of(job.config, job.phase).in_waves and _plan_wave(session, job, settings):
            return
        _close_phase(session, job, job.phase)
    config = job.config
    decision = _decide(session, job, config)
    if isinstance(decision, PhaseRef) and end_exhausted(session, job):
        return
    if isinstance(decision, PhaseRef):
        _enter_phase(session, job, config, decision, settings)
    elif isinstance(decision, Stop):
        job.stop_reason = decision.reason
        move_job(session, job, JobStatus.SUCCEEDED, stop_reason=decision.reason)
    else:
        _pause_with_diagnosis(session, job, decision)


def _decide(session: Session, job: Job, config: StarConfig) -> PhaseRef | Stop | Pause:
    """Return the engine's next step; a job that only asks an adapter, or the base model, has one phase."""
    history = read_history(session, job)
    if job.purpose == Purpose.STAR:
        return next_phase(config, history)
    if any(record.done for record in history):
        return Stop(StopReason.COMPLETED_ITERATIONS)
    if job.purpose == Purpose.PROBE:
        return PhaseRef(1, PhaseName.PROBE)
    if job.purpose == Purpose.DRAFT:
        return PhaseRef(1, PhaseName.SAMPLE)
    adapter = session.get_one(Adapter, job.adapter_id)
    name = PhaseName.EVALUATE if job.purpose == Purpose.EVALUATION else PhaseName.TRIAL
    return PhaseRef(adapter.iteration_number, name)


def _plan_wave(session: Session, job: Job, settings: Settings) -> bool:
    """Plan more steps of the job's phase if what its steps found asks for them; whether any came."""
    if not continue_selection(session, job, _iteration(session, job, job.iteration)):
        return False
    if not end_exhausted(session, job):
        _plan_steps(session, job, job.config, PhaseRef(job.iteration, PhaseName.SAMPLE), settings)
    return True


def _iteration(session: Session, job: Job, number: int) -> Iteration:
    query = select(Iteration).where(Iteration.job_id == job.id, Iteration.number == number)
    return session.scalars(query).one()


def read_history(session: Session, job: Job) -> Sequence[IterationHistory]:
    """What next_phase() needs to know, from the iterations' rows."""
    session.flush()
    known = (Iteration.number, Iteration.phases_done, Iteration.metrics)
    rows = session.execute(select(*known).where(Iteration.job_id == job.id).order_by(Iteration.number))
    return [
        IterationHistory(
            number=number,
            done=frozenset(map(PhaseName, phases_done)),
            kept=own_rows(metrics["kept"]) if "kept" in metrics else None,
            pairs=metrics.get("pairs", {}).get("count"),
            diagnosis=metrics.get("diagnosis") or metrics.get("pairs", {}).get("diagnosis"),
            accuracy=metrics.get("accuracy"),
            solve_rate=metrics.get("solve_rate"),
            chance_p=metrics.get("spark", {}).get("p_value"),
            tool_rate=metrics.get("tool_use", {}).get("generated", {}).get("rate"),
            accepted=metrics.get("accepted"),
        )
        for number, phases_done, metrics in rows
    ]


def _has_open_steps(session: Session, job: Job, phase: PhaseName) -> bool:
    here = _steps_of(job, PhaseRef(job.iteration, phase))
    session.flush()
    return bool(session.scalar(select(exists().where(*here, Step.status.in_(OPEN_STEPS)))))


def _steps_of(job: Job, phase: PhaseRef) -> tuple[ColumnElement[bool], ...]:
    return (
        Step.job_id == job.id,
        Step.iteration_number == phase.iteration,
        Step.phase == phase.name,
    )


def _close_phase(session: Session, job: Job, phase: PhaseName) -> None:
    iteration = _iteration(session, job, job.iteration)
    found = phase_of(job.config, phase).metrics(job.config, IterationCounts(session, job, iteration))
    seconds = {**iteration.metrics.get("seconds", {}), phase: _phase_seconds(session, job, phase)}
    found |= reused_in(session, iteration, phase)
    iteration.metrics = {**iteration.metrics, **found, "seconds": seconds}
    iteration.phases_done = [*iteration.phases_done, phase]
    append_event(session, job, "phase.finished", {"phase": phase, "iteration": job.iteration, **found})
    if job.purpose != Purpose.STAR or phase is phases_of(job.config, job.iteration)[-1]:
        iteration.finished_at = clock()
        append_event(session, job, "iteration.finished", {"iteration": job.iteration, **iteration.metrics})
    job.phase = None


def _phase_seconds(session: Session, job: Job, phase: PhaseName) -> float:
    """Worker seconds of a phase: the sum over its steps' last attempts."""
    spans = session.execute(
        select(Step.started_at, Step.finished_at).where(
            Step.job_id == job.id, Step.iteration_number == job.iteration, Step.phase == phase
        )
    )
    return round(sum((ended - began).total_seconds() for began, ended in spans if began and ended), 3)


def _enter_phase(session: Session, job: Job, config: StarConfig, phase: PhaseRef, settings: Settings) -> None:
    """Make it the job's phase. Its steps may have been planned alongside the phase before, and
    may even be done.
    """
    count = session.scalar(select(func.count()).where(*_steps_of(job, phase))) or 0
    planned = count > 0
    if not planned:
        count = _plan_steps(session, job, config, phase, settings)
    job.phase, job.iteration = phase.name, phase.iteration
    facts = {"phase": phase.name, "iteration": phase.iteration, "steps": count}
    append_event(session, job, "phase.started", facts)
    following = _next_beside(session, job, config, phase) if settings.pipeline else None
    # A job that is retried enters a phase once more, and what runs alongside it may be planned already.
    if following is not None and not session.scalar(select(exists().where(*_steps_of(job, following)))):
        _plan_steps(session, job, config, following, settings)
    if planned:
        advance(session, job, settings)


def _next_beside(session: Session, job: Job, config: StarConfig, phase: PhaseRef) -> PhaseRef | None:
    """Return the phase whose steps can run alongside this one's, if any.

    None for a budget of GPU-seconds: it could run out in work that was begun early, and leave the newest
    adapter without its accuracy.
    """
    if phase.name not in MEASURING or job.purpose != Purpose.STAR or job.budget_gpu_seconds is not None:
        return None
    return next_in_any_case(config, read_history(session, job), phase)


def _plan_steps(session: Session, job: Job, config: StarConfig, phase: PhaseRef, settings: Settings) -> int:
    """Insert a phase's steps and, if it is an iteration's first, the iteration; how many steps there are."""
    here = select(Iteration.id).where(Iteration.job_id == job.id, Iteration.number == phase.iteration)
    if session.scalar(here) is None:
        session.add(Iteration(job_id=job.id, number=phase.iteration, phases_done=[], metrics={}))
    if phase.iteration > 0 and job.purpose == Purpose.STAR:
        begin_selection(session, job, _iteration(session, job, phase.iteration))
    held = job.status in (JobStatus.PAUSING, JobStatus.PAUSED)
    sizes = _Sizes(session, job)
    parts = phase_of(config, phase.name).slices(config, phase.iteration, sizes, settings.shard_examples)
    steps = [
        Step(
            id=new_id("step"),
            job_id=job.id,
            iteration_number=phase.iteration,
            phase=phase.name,
            shard=shard,
            work=part.as_json(),
            model_id=job.model_id,
            priority=job.priority,
            status=StepStatus.HELD if held else StepStatus.QUEUED,
            progress={},
            traceparent=traceparent(),
        )
        for shard, part in enumerate(parts, _next_shard(session, job, phase))
    ]
    session.add_all(steps)
    if not held:
        notify(session, [step.id for step in steps])
    return len(steps)


def _next_shard(session: Session, job: Job, phase: PhaseRef) -> int:
    newest = session.scalar(select(func.max(Step.shard)).where(*_steps_of(job, phase)))
    return 0 if newest is None else newest + 1


@dataclass(frozen=True, slots=True)
class _Sizes:
    """How many examples there are to divide among steps."""

    session: Session
    job: Job

    def selected(self, iteration: int) -> range:
        session, job = self.session, self.job
        selected = selection_of(session, job.id, iteration)
        sampled = 0 if selected is None else len(selected.outcomes)
        asked = asked_positions(session, job.id, job.dataset_id, job.config, iteration)
        return range(sampled, len(asked))

    def control(self, iteration: int) -> JsonObject:
        return dict(_iteration(self.session, self.job, iteration).metrics.get("control", {}))

    def held_out(self, dataset: str | None) -> int:
        config = self.job.config
        size = split_size(self.session, dataset or self.job.dataset_id, config.evaluation.split)
        return len(select_held_out(config, size))


def _pause_with_diagnosis(session: Session, job: Job, pause: Pause) -> None:
    job.status_reason = {"code": pause.reason, "message": pause.diagnosis, "iteration": job.iteration}
    move_job(session, job, JobStatus.PAUSED, **job.status_reason)
