"""What each kind of step does: read the ledger, let star_engine use the GPU, record behind the fence."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from app.database import reading, transaction
from app.failpoints import failpoint
from app.ledger.data.examples import load_examples, selected_positions
from app.ledger.data.prompt_sets import load_prompt_set
from app.ledger.queue.steps import Claim, finish_step
from app.ledger.results.diagnostics import audited_before, record_audits
from app.ledger.results.mixing import mixed_into, record_mixed
from app.ledger.results.overrides import newest_override, read_overrides, record_overruled
from app.ledger.results.rationales import iteration_tries, record_training_set
from app.ledger.transitions import lock_job
from star_engine.diagnostics.iteration import audit_iteration
from star_engine.loop import PhaseName
from star_engine.sampling.labels import labelled
from star_engine.training_set.diagnosis import diagnose
from star_engine.training_set.overrides import overruled, say_overridden
from star_engine.training_set.rows import audit_hints, build, decide, training_set_sha256
from worker.asking import ASKING
from worker.context import Workbench
from worker.lease import Lease
from worker.settle import stop
from worker.shared_calls import work_together
from worker.train import train_adapter, verify_adapter
from worker.trial import answer_trial

log = structlog.get_logger()


def work_on(bench: Workbench, claim: Claim) -> None:
    """Do one claimed step to its end, whatever that is, and those that share a call of the sampler with it.

    This and worker/shared_calls.py are the only places that catch everything.
    """
    bench.halvings = claim.work.get("halvings", 0)
    if PhaseName(claim.phase) in ASKING:
        work_together(bench, claim)
    else:
        _work_alone(bench, claim)


def _work_alone(bench: Workbench, claim: Claim) -> None:
    place = {"job": claim.job_id, "step": claim.step_id}
    log.info("step_started", **place, phase=claim.phase, attempt=claim.attempt, fence=claim.fence)
    began = time.monotonic()
    failpoint("claim.after_commit")
    with Lease(bench.engine, bench.settings, claim, bench.draining, bench.abandon) as lease:
        try:
            PHASES[PhaseName(claim.phase)](bench, claim, lease)
            outcome = "finished"
        except Exception as problem:  # noqa: BLE001 - the step boundary: whatever it is gets recorded
            outcome = stop(bench, claim, lease, problem)
    seconds = round(time.monotonic() - began, 3)
    log.info("step_ended", **place, fence=claim.fence, outcome=outcome, seconds=seconds)


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


PHASES: dict[PhaseName, Callable[[Workbench, Claim, Lease], None]] = {
    PhaseName.BUILD: build_training_set,
    PhaseName.TRAIN: train_adapter,
    PhaseName.VERIFY_ADAPTER: verify_adapter,
    PhaseName.TRIAL: answer_trial,
}
