"""Does a claimed step: drives its phase (star_engine/phases) on the ledger and on the GPU process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import structlog

from app.database import reading
from app.failpoints import failpoint
from app.ledger.data.chat_templates import asked_with
from app.ledger.queue.steps import Claim
from app.ledger.results.adapters import answering_model
from app.ledger.results.completion_cache import recorded_answers, recorded_evaluations, recorded_tries
from app.tables.data import Model, PromptSet
from app.tracing.spans import current, span
from star_engine.loop import PhaseName
from star_engine.phases.phase import Ask, Context, Progress, Work, slice_from
from star_engine.phases.table import phase_of
from star_engine.protocols import Completion
from star_engine.sampling.completion_cache import Recorded, ReusingPlan
from star_engine.sampling.finishing import finished
from worker.context import ClaimedGpu, WorkerContext
from worker.lease import Lease
from worker.ledger_record import LedgerRecord
from worker.settle import stop
from worker.tracing.claims import begin_step, end_step

log = structlog.get_logger()

FIND = {
    PhaseName.SAMPLE: recorded_tries,
    PhaseName.PROBE: recorded_tries,
    PhaseName.TEST_TIME: recorded_answers,
}
RECORD_SECONDS = 1.0  # a person may be waiting for the answers of a trial


def begin(worker: WorkerContext, claim: Claim, lease: Lease) -> Work:
    """The claimed step's phase, at its slice."""
    with reading(worker.engine) as session:
        row, model = session.get_one(PromptSet, claim.prompt_set_id), session.get_one(Model, claim.model_id)
    folder = worker.base_models.find(model) if claim.config.is_chat else None
    prompt_set = asked_with(claim.config, row, model, folder)
    part = slice_from(claim.work)
    record, gpu = LedgerRecord(worker, claim, part), ClaimedGpu(worker, claim, lease)
    context = Context(claim.config, prompt_set, claim.iteration, part, record, gpu)
    return phase_of(claim.config, claim.phase).run(context)


def report(lease: Lease, progress: Progress) -> None:
    """Show progress with the next heartbeat. Raises where the work must stop."""
    lease.report(progress.done, progress.total, progress.unit, **progress.more)
    lease.check()


def reusing(worker: WorkerContext, claim: Claim, lease: Lease, ask: Ask[Any]) -> ReusingPlan[Any]:
    """The plan of an Ask, its requests looked up first among what the project's jobs have answered before."""
    find = FIND.get(claim.phase, recorded_evaluations)
    with reading(worker.engine) as session:
        model, _ = answering_model(session, claim.job_id, claim.model_id, ask.iteration)

    def lookup(keys: Sequence[str]) -> Mapping[str, Recorded]:
        lease.check()  # where all is on record, no call to the GPU does it
        if not keys:
            return {}
        with reading(worker.engine) as session:
            return find(session, claim.project_id, keys)

    return ReusingPlan(ask.plan, model, lookup)


def work_alone(worker: WorkerContext, claim: Claim) -> None:
    """Do one claimed step to its end, whatever that is. Catches everything: it is the boundary of a step."""
    place = {"job": claim.job_id, "step": claim.step_id}
    log.info("step_started", **place, phase=claim.phase, attempt=claim.attempt, fence=claim.fence)
    began = time.monotonic()
    failpoint("claim.after_commit")
    seen, error_type = begin_step(claim), None
    lease = Lease(worker.engine, worker.settings, claim, worker.draining, worker.abandon)
    with lease, current(seen):
        try:
            for progress in drive(worker, claim, lease, begin(worker, claim, lease)):
                report(lease, progress)
                failpoint(f"{claim.phase}.progress")
            outcome = "finished"
            worker.fitness.succeeded()
        except Exception as problem:  # noqa: BLE001 - the step boundary: whatever it is gets recorded
            outcome, error_type = stop(worker, claim, lease, problem), type(problem).__name__
    seconds = round(time.monotonic() - began, 3)
    log.info("step_ended", **place, fence=claim.fence, outcome=outcome, seconds=seconds)
    end_step(seen, outcome, error_type)


def drive(worker: WorkerContext, claim: Claim, lease: Lease, work: Work) -> Iterator[Progress]:
    """Run a phase that has the GPU for itself, sending its requests to the model as they come."""
    gpu = ClaimedGpu(worker, claim, lease)
    for item in work:
        if isinstance(item, Progress):
            yield item
        elif isinstance(item, Ask) and item.plan.queue:
            side_by_side = claim.config.executes
            found = finished(
                gpu.sampler(item.iteration),
                item.plan.queue,
                item.plan.params,
                item.plan.finish,
                side_by_side=side_by_side,
                idle=lease.check,
            )
            with closing(found):
                yield from _recorded(item, found, worker.settings.record_batch)


def _recorded(
    ask: Ask[Any], found: Iterator[tuple[Completion, Callable[[], Any]]], size: int
) -> Iterator[Progress]:
    items: list[Any] = []
    recorded = time.monotonic()
    for _, result in found:
        if (item := result()) is not None:
            items.append(item)
        if len(items) >= size or (items and time.monotonic() - recorded > RECORD_SECONDS):
            yield _record(ask, items)
            items, recorded = [], time.monotonic()
    if items:
        yield _record(ask, items)


def _record(ask: Ask[Any], items: list[Any]) -> Progress:
    with span("record", {"star.items": len(items)}):
        return ask.record(items)
