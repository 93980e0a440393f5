"""The steps that ask the sampler: what they ask, and how they record what comes back.

Each is a generator, so that several can share a call of the sampler (worker/shared_calls.py). It yields its
plan and is sent lists of what the plan made of completions, to record each in one transaction; the empty list
says that nothing more will come. A step that asks the GPU on its own after that yields ALONE before.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.database import reading, transaction
from app.failpoints import failpoint
from app.ledger.data.examples import load_examples, selected_positions, split_size
from app.ledger.data.prompt_sets import load_prompt_set
from app.ledger.queue.steps import Claim, finish_step
from app.ledger.results.completion_cache import recorded_evaluations, recorded_tries
from app.ledger.results.diagnostics import record_audits
from app.ledger.results.evaluation_modes import recorded_mode
from app.ledger.results.evaluations import evaluated_ids, record_evaluations
from app.ledger.results.rationales import record_rationales, recorded_verdicts
from app.tables.base import JsonObject
from star_engine.config.star import StarConfig
from star_engine.config.training_set import Source
from star_engine.diagnostics.determinism import TwicePlan, drawn_again
from star_engine.evaluation.accuracy import EvaluationMode, evaluation_params, plan_answers, select_held_out
from star_engine.loop import PhaseName
from star_engine.protocols import SamplingParams
from star_engine.sampling.rationales import (
    Rationale,
    RationaleKey,
    Route,
    given_rationales,
    plan_tries,
    sampling_params,
)
from star_engine.tasks.examples import Example
from worker.audits import audit_sampler
from worker.card import finish_evaluation
from worker.checks import check_tries
from worker.context import Workbench
from worker.lease import Lease
from worker.reuse import reusing

ALONE = None
Asking = Generator[Any, list[Any], None]  # yields its ReusingPlan, later ALONE


@dataclass(frozen=True, slots=True)
class Asked:
    """What steps must have in common to share a call: the model that they ask, and how it decodes."""

    iteration: int  # whose adapter; 0: the base model
    params: SamplingParams


def asked_by(config: StarConfig, phase: str, iteration: int, work: JsonObject) -> Asked:
    """What a step of one of the phases in ASKING asks."""
    if phase == PhaseName.SAMPLE:
        return Asked(iteration - 1, sampling_params(config))
    return Asked(iteration, evaluation_params(config, EvaluationMode(work["mode"])))


@dataclass(slots=True)
class _Tries:
    """Records the tries of one shard and says how far it is."""

    bench: Workbench
    claim: Claim
    lease: Lease
    row_ids: Mapping[str, int]
    adapter_id: str | None = None
    done: int = 0
    rationalized: int = 0
    reused: int = 0

    def count(self, keys: Iterable[RationaleKey]) -> None:
        for key in keys:
            self.done += key.route is not Route.RATIONALIZED
            self.rationalized += key.route is Route.RATIONALIZED
        examples = self.done // self.claim.config.generation.samples_per_example
        more = {"rationalized": self.rationalized, "reused": self.reused}
        self.lease.report(examples, len(self.row_ids), "examples", **more)

    def record(self, batch: Sequence[Rationale]) -> None:
        with transaction(self.bench.engine) as session:
            record_rationales(session, self.claim, batch, self.row_ids, self.adapter_id)
            failpoint("sample.before_record")
        failpoint("sample.after_record")
        self.reused += sum(item.reused for item in batch)
        self.count(item.key for item in batch)


def sample(bench: Workbench, claim: Claim, lease: Lease) -> Asking:
    """Generate, verify and rationalize this shard's examples, recording as they come."""
    config = claim.config
    examples, row_ids = _shard(bench, claim, "train")
    names = {row_id: name for name, row_id in row_ids.items()}
    with reading(bench.engine) as session:
        prompt_set = load_prompt_set(session, claim.prompt_set_id)
        recorded = recorded_verdicts(session, claim, names)
    given = config.training_set.source is not Source.RATIONALES
    first = claim.work["start"] == 0
    sampled = [] if given else examples
    again = drawn_again(config, claim.iteration, sampled) if first else []
    plan = TwicePlan(plan_tries(config, prompt_set, sampled, claim.iteration, recorded), again)
    asked, adapter_id = reusing(bench, claim, lease, claim.iteration - 1, plan, recorded_tries)
    tries = _Tries(bench, claim, lease, row_ids, adapter_id)
    tries.count(recorded)
    if given and (texts := list(given_rationales(config, examples, recorded))):
        tries.record(texts)
    while batch := (yield asked):
        tries.record(batch)
    if config.training_set.checks or first:
        yield ALONE
        check_tries(bench, claim, prompt_set, examples, row_ids)
    found = audit_sampler(bench, claim, prompt_set, plan.answers, row_ids) if first else {}
    with transaction(bench.engine) as session:
        if found:
            record_audits(session, claim, found)
        finish_step(session, claim, bench.settings)
        failpoint("sample.before_finish")
    failpoint("sample.after_finish")


def evaluate_held_out(bench: Workbench, claim: Claim, lease: Lease) -> Asking:
    """Ask this shard's held-out examples, as a few-shot baseline or with the iteration's adapter."""
    mode, other = EvaluationMode(claim.work["mode"]), claim.work.get("dataset")
    name = recorded_mode(mode, other)
    examples, row_ids = _shard(bench, claim, claim.config.evaluation.split, other)
    with reading(bench.engine) as session:
        prompt_set = load_prompt_set(session, claim.prompt_set_id)
        names = {row_id: name for name, row_id in row_ids.items()}
        done = evaluated_ids(session, claim, name, names)
    plan = plan_answers(claim.config, prompt_set, examples, mode, claim.iteration, frozenset(done))
    asked, _ = reusing(bench, claim, lease, claim.iteration, plan, recorded_evaluations)
    answered, reused = len(done), 0
    lease.report(answered, len(examples), "examples")
    while batch := (yield asked):
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


ASKING: dict[PhaseName, Callable[[Workbench, Claim, Lease], Asking]] = {
    PhaseName.BASELINES: evaluate_held_out,
    PhaseName.SAMPLE: sample,
    PhaseName.EVALUATE: evaluate_held_out,
}
