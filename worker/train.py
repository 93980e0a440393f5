"""The steps that make an adapter: train it on the iteration's training set, then prove that it acts."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from app.database import reading, transaction
from app.failpoints import failpoint
from app.ledger.data.examples import load_examples, selected_positions, split_size
from app.ledger.data.prompt_sets import load_prompt_set
from app.ledger.queue.steps import Claim, finish_step
from app.ledger.results.adapters import find_adapter, record_adapter, record_verification
from app.ledger.results.iterations import iterations_among
from app.ledger.results.rationales import claimed_iteration, training_rows
from app.tables.base import JsonObject
from app.tables.data import Model
from app.tables.jobs import Job
from star_engine.adapters.layout import (
    CONFIG,
    LAYOUT,
    WEIGHTS,
    BaseModel,
    check_layout,
    check_weights,
    judge_adapter,
    rewrite_config,
    write_manifest,
)
from star_engine.adapters.model_card import write_card
from star_engine.adapters.probe import (
    PROBE_TOKENS,
    PROBES,
    continue_greedily,
    installed_versions,
    probe_prompts,
)
from star_engine.data.selection import steps_in, training_seed
from star_engine.evaluation.accuracy import select_held_out
from star_engine.protocols import TrainingJob, TrainingText
from star_engine.sampling.rationales import RationaleKey, Route
from star_engine.training_set.rows import Coverage, TrainingExample
from star_engine.training_set.window import in_window, window
from worker.audits import check_tokens
from worker.checkpoints import Checkpoints
from worker.context import Workbench
from worker.lease import Lease


def train_adapter(bench: Workbench, claim: Claim, lease: Lease) -> None:
    """Train LoRA weights on the recorded training set and publish them, unverified."""
    with reading(bench.engine) as session:
        known = find_adapter(session, claim.job_id, claim.iteration)
        rows = _rows_to_train(session, claim)
        model = session.get_one(Model, claim.model_id)
    files: list[JsonObject] = []
    report: JsonObject = {}
    folder = bench.folder / "training" / claim.step_id
    if known is None:  # else an earlier attempt published it and died before this line's end
        report = _train(bench, claim, lease, rows, folder)
        rewrite_config(folder / _weights(claim), BaseModel(model.id, model.revision))
        check_weights(folder / _weights(claim) / WEIGHTS, claim.config.training.lora.rank)
        files = [_publish(bench, folder / _weights(claim) / name) for name in (CONFIG, WEIGHTS)]
    failpoint("train.before_record")
    with transaction(bench.engine) as session:
        if files:
            record_adapter(session, claim, files, report)
        finish_step(session, claim, bench.settings)
        failpoint("train.before_finish")
    failpoint("train.after_finish")
    shutil.rmtree(folder, ignore_errors=True)


def _rows_to_train(session: Session, claim: Claim) -> list[TrainingText]:
    sets = [
        [
            TrainingExample(RationaleKey(name, Route(made.route), made.sample), row.prompt, row.completion)
            for row, made, name in training_rows(session, iteration.id)
        ]
        for iteration in iterations_among(session, claim.job_id, window(claim.config, claim.iteration))
    ]
    return [TrainingText(row.prompt, row.completion) for row in in_window(claim.config, sets)]


def _weights(claim: Claim) -> str:
    """A name of this attempt's own: what an attempt that lost its lease still writes is never published."""
    return f"adapter-{claim.fence}"


def _train(
    bench: Workbench, claim: Claim, lease: Lease, rows: list[TrainingText], folder: Path
) -> JsonObject:
    training = claim.config.training
    batch_size = training.batch_size
    steps = steps_in(training.schedule, claim.iteration, rows=len(rows), batch_size=batch_size)
    seed = training_seed(claim.config.seed, claim.iteration)
    previous = claim.iteration - 1 if training.start_from == "previous" else 0
    start = bench.fetch_adapter(claim.job_id, previous) if previous > 0 else None
    gpu = bench.gpu(claim.model_id)
    gpu.check, lease.gpu = lease.check, gpu
    lease.report(0, steps, "steps")
    losses: list[float] = []
    tokens = 0
    began = time.monotonic()
    out, checkpoints = folder / _weights(claim), folder / "checkpoints"
    shelf = Checkpoints(bench, claim, checkpoints)
    shelf.fetch()
    check_tokens(bench, claim)
    failpoint("train.before_training")
    job = TrainingJob(tuple(rows), training, steps, seed, out, checkpoints, start)
    for progress in gpu.train(job):
        failpoint("train.step")
        losses.append(progress.loss)
        tokens = progress.tokens
        shelf.keep(progress.step)
        lease.report(progress.step, steps, "steps", loss=round(progress.loss, 6))
    return {
        "steps": steps,
        "seed": seed,
        "started_from": "base" if start is None else f"iteration {previous}",
        "training_examples": len(rows),
        "examples_seen": steps * batch_size,
        "tokens": tokens,
        "loss_first": round(losses[0], 6) if losses else None,
        "loss_last": round(losses[-1], 6) if losses else None,
        "seconds": round(time.monotonic() - began, 3),
    }


def verify_adapter(bench: Workbench, claim: Claim, lease: Lease) -> None:
    """Load the adapter in PEFT and in the sampler, compare both with the base model, publish the whole."""
    published = bench.fetch_adapter(claim.job_id, claim.iteration)
    if published is None:
        raise RuntimeError(f"iteration {claim.iteration} has no adapter")
    folder = bench.folder / "verification" / claim.step_id
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(published, folder)
    prompts = _probe_prompts(bench, claim)
    gpu = bench.gpu(claim.model_id)
    gpu.check, lease.gpu = lease.check, gpu
    probe = gpu.probe(folder, prompts, PROBE_TOKENS)
    failpoint("verify_adapter.after_probe")
    gpu.use(published)  # the same weights, under the name by which the evaluation will ask for them
    verification = judge_adapter(probe, continue_greedily(gpu, prompts, PROBE_TOKENS))
    base, covered, facts, licence = _provenance(bench, claim)
    write_card(folder, base, claim.config, claim.iteration, covered, facts["training_set_sha256"], licence)
    write_manifest(folder, facts, verification)
    check_layout(folder)
    files = [_publish(bench, folder / name) for name in sorted(LAYOUT)]
    failpoint("verify_adapter.before_record")
    with transaction(bench.engine) as session:
        record_verification(session, claim, files, asdict(verification))
        finish_step(session, claim, bench.settings)
        failpoint("verify_adapter.before_finish")
    failpoint("verify_adapter.after_finish")
    shutil.rmtree(folder, ignore_errors=True)


def _probe_prompts(bench: Workbench, claim: Claim) -> list[str]:
    config = claim.config
    with reading(bench.engine) as session:
        prompt_set = load_prompt_set(session, claim.prompt_set_id)
        count = split_size(session, claim.dataset_id, config.evaluation.split)
        positions = select_held_out(config, count)[:PROBES]
        examples = [
            item for _, item in load_examples(session, claim.dataset_id, config.evaluation.split, positions)
        ]
    return probe_prompts(config, prompt_set, examples)


def _provenance(bench: Workbench, claim: Claim) -> tuple[BaseModel, Coverage, dict[str, Any], str | None]:
    """Everything the adapter depends on, for its card and manifest."""
    config = claim.config
    with reading(bench.engine) as session:
        job = session.get_one(Job, claim.job_id)
        model = session.get_one(Model, claim.model_id)
        iteration = claimed_iteration(session, claim)
        adapter = find_adapter(session, claim.job_id, claim.iteration)
        sets = iterations_among(session, claim.job_id, window(config, claim.iteration))
        asked = len(selected_positions(session, claim.dataset_id, config, claim.iteration))
    shares = iteration.metrics["coverage"]
    covered = Coverage(
        asked, *(round(shares.get(route.value, 0.0) * asked) for route in Route if route is not Route.MIXED)
    )
    facts = {
        "job": job.id,
        "iteration": claim.iteration,
        "dataset": job.dataset_id,
        "prompt_set": job.prompt_set_id,
        "base_model": {"id": model.id, "revision": model.revision, "files": model.files},
        "training_set_sha256": iteration.training_set_sha256,
        "training_sets": [{"iteration": one.number, "sha256": one.training_set_sha256} for one in sets],
        "optimizer": "AdamW, fresh in this iteration",
        "training": adapter.training if adapter is not None else None,
        "config": config.model_dump(mode="json"),
        "versions": installed_versions(),
    }
    return BaseModel(model.id, model.revision), covered, facts, model.license


def _publish(bench: Workbench, path: Path) -> JsonObject:
    """Store one file under its sha256; what is recorded of it."""
    size = path.stat().st_size
    return {"path": path.name, "size_bytes": size, "sha256": bench.storage.put_file(path)}
