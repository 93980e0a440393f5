"""What each kind of step does: read the ledger, let star_engine use the GPU, record behind the fence."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.database import reading, transaction
from app.failpoints import failpoint
from app.ledger.audits import audited_before, record_audits
from app.ledger.counters import count
from app.ledger.evaluation_modes import recorded_mode
from app.ledger.evaluations import evaluated_ids, record_evaluations
from app.ledger.examples import load_examples, selected_positions, split_size
from app.ledger.mixing import mixed_into, record_mixed
from app.ledger.overrides import newest_override, read_overrides, record_overruled
from app.ledger.prompt_sets import load_prompt_set
from app.ledger.rationales import iteration_tries, record_rationales, record_training_set, recorded_verdicts
from app.ledger.reuse import recorded_evaluations, recorded_tries
from app.ledger.steps import Claim, Fenced, fail_step, finish_step, hand_back
from app.ledger.transitions import lock_job
from star_engine.audits.iteration import audit_iteration
from star_engine.diagnosis import diagnose
from star_engine.evaluation import EvaluationMode, evaluate, select_held_out
from star_engine.examples import Example
from star_engine.labels import labelled
from star_engine.loop import PhaseName
from star_engine.overrides import overruled, say_overridden
from star_engine.protocols import OutOfMemory
from star_engine.rationales import Route, sample_rationales
from star_engine.training_set import audit_hints, build, decide, training_set_sha256
from worker.audits import audit_sampler
from worker.card import finish_evaluation
from worker.checks import check_tries
from worker.failures import describe, is_outage
from worker.lease import HandBack, Lease
from worker.reuse import reusing_sampler
from worker.train import train_adapter, verify_adapter
from worker.trial import answer_trial
from worker.workbench import Workbench

log = structlog.get_logger()

FLUSH_SECONDS = 5.0  # recorded at least this often, however slow the sampler
MOST_HALVINGS = 2  # of the sampler's batch; where a quarter does not fit, advice is worth more than an eighth
OUTAGE_PAUSE_SECONDS = 1.0  # between two tries at a database that does not answer
T = TypeVar("T")


def work_on(bench: Workbench, claim: Claim) -> None:
    """Do one claimed step to its end, whatever that is. The only place that catches everything."""
    place = {"job": claim.job_id, "step": claim.step_id}
    log.info("step_started", **place, phase=claim.phase, attempt=claim.attempt, fence=claim.fence)
    began = time.monotonic()
    failpoint("claim.after_commit")
    bench.halvings = claim.work.get("halvings", 0)
    with Lease(bench.engine, bench.settings, claim, bench.draining, bench.abandon) as lease:
        try:
            PHASES[PhaseName(claim.phase)](bench, claim, lease)
            outcome = "finished"
        except Exception as problem:  # noqa: BLE001 - the step boundary: whatever it is gets recorded
            outcome = _stop(bench, claim, lease, problem)
    seconds = round(time.monotonic() - began, 3)
    log.info("step_ended", **place, fence=claim.fence, outcome=outcome, seconds=seconds)


def _stop(bench: Workbench, claim: Claim, lease: Lease, problem: Exception) -> str:
    """Hand the step back where nobody has failed, else record the failure."""
    if isinstance(problem, Fenced | HandBack) or lease.lost or is_outage(problem):
        bench.drop_gpu()  # a lost lease has killed it already, and the working thread sees only that
        return _record(bench, claim, lease, "handed_back", lambda session: hand_back(session, claim))
    failure = describe(problem)
    halved = {"halvings": bench.halvings + 1} if isinstance(problem, OutOfMemory) else None
    retryable = failure.retryable and (halved is None or bench.halvings < MOST_HALVINGS)
    trace = traceback.format_exc(limit=-8)
    log.error("step_failed", step=claim.step_id, code=failure.error["code"], trace=trace)
    if failure.gpu_is_lost:
        bench.drop_gpu()
    return _record(
        bench,
        claim,
        lease,
        "failed",
        lambda session: fail_step(
            session, claim, failure.error, retryable=retryable, settings=bench.settings, work=halved
        ),
    )


def _record(
    bench: Workbench, claim: Claim, lease: Lease, outcome: str, change: Callable[[Session], None]
) -> str:
    """Apply a change of the step, through an outage if need be, for as long as the lease lasts.

    Where even that fails, the lease runs out and the reaper does the rest.
    """
    while True:
        try:
            with transaction(bench.engine) as session:
                change(session)
                failpoint("stop.before_commit")
        except Fenced:
            _count_refusal(bench)
            return "fenced"
        except SQLAlchemyError as error:
            log.warning("step_not_recorded", step=claim.step_id, error=type(error).__name__)
            if lease.lost or not is_outage(error):
                return "unrecorded"
            time.sleep(OUTAGE_PAUSE_SECONDS)
        else:
            return outcome


def _count_refusal(bench: Workbench) -> None:
    with suppress(SQLAlchemyError), transaction(bench.engine) as session:
        count(session, "fence_rejections")


def _finish(bench: Workbench, claim: Claim) -> None:
    with transaction(bench.engine) as session:
        finish_step(session, claim, bench.settings)
        failpoint(f"{claim.phase}.before_finish")
    failpoint(f"{claim.phase}.after_finish")


def sample(bench: Workbench, claim: Claim, lease: Lease) -> None:
    """Generate, verify and rationalize this shard's examples, recording as they come."""
    examples, row_ids = _shard(bench, claim, "train")
    names = {row_id: name for name, row_id in row_ids.items()}
    with reading(bench.engine) as session:
        prompt_set = load_prompt_set(session, claim.prompt_set_id)
        recorded = recorded_verdicts(session, claim, names)
    sampler, adapter_id = reusing_sampler(bench, claim, lease, claim.iteration - 1, recorded_tries)
    done = sum(key.route is not Route.RATIONALIZED for key in recorded)
    rationalized, reused = len(recorded) - done, 0
    tries = claim.config.generation.samples_per_example
    lease.report(done // tries, len(examples), "examples", rationalized=rationalized)
    stream = sample_rationales(sampler, claim.config, prompt_set, examples, claim.iteration, recorded)
    for batch in _batches(stream, bench.settings.record_batch):
        with transaction(bench.engine) as session:
            record_rationales(session, claim, batch, row_ids, adapter_id)
            failpoint("sample.before_record")
        failpoint("sample.after_record")
        done += sum(item.key.route is not Route.RATIONALIZED for item in batch)
        rationalized += sum(item.key.route is Route.RATIONALIZED for item in batch)
        reused += sum(item.reused for item in batch)
        lease.report(done // tries, len(examples), "examples", rationalized=rationalized, reused=reused)
    if claim.config.training_set.checks:
        sampler.behind()  # checks and audits ask the GPU, also where every try was on record
        check_tries(bench, claim, prompt_set, examples, row_ids)
    found = {}
    if claim.work["start"] == 0:
        sampler.behind()
        found = audit_sampler(bench, claim, prompt_set, examples, row_ids)
    with transaction(bench.engine) as session:
        if found:
            record_audits(session, claim, found)
        finish_step(session, claim, bench.settings)
        failpoint("sample.before_finish")
    failpoint("sample.after_finish")


def build_training_set(bench: Workbench, claim: Claim, lease: Lease) -> None:
    """Decide what is kept, strip the hints, prove that they are gone, record the training set."""
    while not _build_once(bench, claim, lease):
        lease.check()


def _build_once(bench: Workbench, claim: Claim, lease: Lease) -> bool:
    """Whether it was recorded: not where a reviewer overruled a verdict meanwhile."""
    with reading(bench.engine) as session:
        prompt_set = load_prompt_set(session, claim.prompt_set_id)
        config = claim.config
        positions = selected_positions(session, claim.dataset_id, config, claim.iteration)
        examples = [item for _, item in load_examples(session, claim.dataset_id, "train", positions)]
        tries = list(iteration_tries(session, claim))
        before = audited_before(session, claim)
        overrides = read_overrides(session, claim.job_id)
    given = [item for _, item in tries]
    overruling = overrides.of(given)
    verdicts = {key: override.verdict for key, override in overruling.items()}
    row_ids = {item.key: row_id for row_id, item in tries}
    lease.check()
    seen = labelled(config, examples, given)
    judged = overruled(seen.rationales, verdicts)  # people have the last word, over a majority too
    decisions = say_overridden(decide(config, prompt_set, seen.examples, judged), verdicts)
    rows = build(config, prompt_set, seen.examples, judged, decisions)
    audit_hints(config, prompt_set, seen.examples, judged, rows)
    with reading(bench.engine) as session:
        added = list(mixed_into(session, config, prompt_set, claim.iteration, len(rows)))
    decided = (*decisions, *(one for mixed, _ in added for one in mixed.decisions))
    trained = (*rows, *(one for mixed, _ in added for one in mixed.rows))
    sha = training_set_sha256(trained)
    rationales = overruled(given, verdicts)
    found = audit_iteration(config, prompt_set, claim.iteration, examples, rationales, decisions, before)
    diagnosis = diagnose(decisions) if len(rows) < config.training_set.min_kept else None
    with transaction(bench.engine) as session:
        lock_job(session, claim.job_id)  # as an override does: it comes before this or after
        if newest_override(session, claim.job_id) != overrides.newest:
            return False
        row_ids |= record_mixed(session, claim, added)
        record_training_set(session, claim, row_ids, decided, trained, sha, diagnosis)
        record_overruled(session, row_ids, overruling)
        record_audits(session, claim, found)
        finish_step(session, claim, bench.settings)
        failpoint("build.before_finish")
    failpoint("build.after_finish")
    return True


def evaluate_held_out(bench: Workbench, claim: Claim, lease: Lease) -> None:
    """Ask this shard's held-out examples, as a few-shot baseline or with the iteration's adapter."""
    mode, other = EvaluationMode(claim.work["mode"]), claim.work.get("dataset")
    name = recorded_mode(mode, other)
    examples, row_ids = _shard(bench, claim, claim.config.evaluation.split, other)
    with reading(bench.engine) as session:
        prompt_set = load_prompt_set(session, claim.prompt_set_id)
        names = {row_id: name for name, row_id in row_ids.items()}
        done = evaluated_ids(session, claim, name, names)
    sampler, _ = reusing_sampler(bench, claim, lease, claim.iteration, recorded_evaluations)
    lease.report(len(done), len(examples), "examples")
    stream = evaluate(sampler, claim.config, prompt_set, examples, mode, claim.iteration, frozenset(done))
    answered, reused = len(done), 0
    for batch in _batches(stream, bench.settings.record_batch):
        with transaction(bench.engine) as session:
            record_evaluations(session, claim, name, batch, row_ids)
            failpoint(f"{claim.phase}.before_record")
        failpoint(f"{claim.phase}.after_record")
        answered += len(batch)
        reused += sum(item.reused for item in batch)
        lease.report(answered, len(examples), "examples", reused=reused)
    finish_evaluation(bench, claim)


def _shard(
    bench: Workbench, claim: Claim, split: str, other: str | None = None
) -> tuple[list[Example], dict[str, int]]:
    """The examples of this step and their row ids. The selection follows from the job's seed alone.

    `other`: the dataset, where it is one that is measured along.
    """
    dataset_id = other or claim.dataset_id
    with reading(bench.engine) as session:
        config = claim.config
        if split == "train":
            selection = selected_positions(session, claim.dataset_id, config, claim.iteration)
        else:
            selection = select_held_out(config, split_size(session, dataset_id, split))
        positions = selection[claim.work["start"] : claim.work["stop"]]
        rows = load_examples(session, dataset_id, split, positions)
    return [item for _, item in rows], {item.id: row_id for row_id, item in rows}


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of at most `size`, each given up early once its first item has waited for FLUSH_SECONDS."""
    batch: list[T] = []
    flushed = time.monotonic()
    for item in items:
        batch.append(item)
        if len(batch) >= size or time.monotonic() - flushed > FLUSH_SECONDS:
            yield batch
            batch, flushed = [], time.monotonic()
    if batch:
        yield batch


PHASES: dict[PhaseName, Callable[[Workbench, Claim, Lease], None]] = {
    PhaseName.BASELINES: evaluate_held_out,
    PhaseName.SAMPLE: sample,
    PhaseName.BUILD: build_training_set,
    PhaseName.TRAIN: train_adapter,
    PhaseName.VERIFY_ADAPTER: verify_adapter,
    PhaseName.EVALUATE: evaluate_held_out,
    PhaseName.TRIAL: answer_trial,
}
