"""Train a verifier on the recorded pairs: by DPO (V-STaR, arXiv 2402.06457), or as a yes or no."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from star_engine.adapters.layout import CONFIG, OPTIMIZER, WEIGHTS, check_weights, rewrite_config
from star_engine.adapters.roles import AdapterRole
from star_engine.config.pairs import TrainedVerifier
from star_engine.config.star import StarConfig, Training
from star_engine.data.selection import training_seed, training_steps
from star_engine.evaluation.yes_no import judged_text
from star_engine.loop import PhaseName
from star_engine.phases.pairs import pair_texts, preference_pair, verifier_of
from star_engine.phases.phase import Context, Phase, Progress, Work
from star_engine.phases.train import TrainingReport, learn
from star_engine.phases.verifier_stop import (
    BEST,
    Look,
    Looks,
    Parts,
    Questions,
    input_hash,
    part_of,
    rank,
    validation_questions,
    with_references,
)
from star_engine.protocols import (
    Preference,
    PreferencePair,
    TrainingJob,
    TrainingProgress,
    TrainingText,
)
from star_engine.record import Counts
from star_engine.training_set.pairs import PairRow

VERIFIER_SEED = 7919  # apart from the generator's of the same iteration, which the job's own seed gives


def _run(context: Context) -> Work:
    record, settings = context.record, verifier_of(context.config)
    if record.has_weights():  # an earlier attempt recorded them and died before the phase's end
        record.finish_training(None, {})
        return
    every = [row for row in record.pairs().recorded() if is_learnable(row, settings)]
    rows = [row for row in every if not row.held_out]
    if not rows:  # the metrics of the phase before say why
        record.skip()
        return
    training = training_of(context.config)
    texts = len(rows) * (1 if settings.method == "dpo" else 2)
    steps = training_steps(training, context.iteration, texts, None)
    first = settings.method == "dpo" and settings.reference == "first_iteration"
    report = TrainingReport(
        steps,
        training_seed(context.config.seed + VERIFIER_SEED, context.iteration),
        "iteration 1" if first else "base",
        len(rows),
        steps * settings.batch_size,
        loss_first=record.first_loss(),
        more=_described(settings, rows),
    )
    yield Progress(0, steps, "steps")
    checkpoints, out = record.checkpoints(), record.weights_folder()
    job = _job(context, rows, steps, report.seed, out, checkpoints)
    job = replace(job, start=record.adapter(1) if first else None)
    if settings.stop is None:
        yield from learn(context, job, report)
        return
    questions = validation_questions(context, every, settings.stop)
    if not questions:  # of so few pairs none is held out: there is nothing to end it by
        report.more = {**report.more, "stop": {"questions": 0}}
        yield from learn(context, job, report)
        return
    yield from _learn_in_parts(context, job, rows, questions, report)


def _job(
    context: Context, rows: Sequence[PairRow], steps: int, seed: int, out: Path, checkpoints: Path
) -> TrainingJob:
    """A training on these pairs."""
    settings, end = verifier_of(context.config), context.prompt_set.end
    data: tuple[PreferencePair, ...] | tuple[TrainingText, ...]
    preference = None
    if settings.method == "dpo":
        data = tuple(preference_pair(row, end) for row in rows)
        preference = Preference(settings.beta, settings.nll)
    else:
        data = tuple(text for row in rows for text in _judged(row, end))
    training = training_of(context.config)
    return TrainingJob(data, training, steps, seed, out, checkpoints, preference=preference)


def _learn_in_parts(
    context: Context,
    whole: TrainingJob,
    rows: Sequence[PairRow],
    questions: Questions,
    report: TrainingReport,
) -> Work:
    """Train part by part, each ended by a look at how the adapter ranks, until no look gets better."""
    record, settings = context.record, verifier_of(context.config)
    stop = settings.stop
    if stop is None:
        raise ValueError("trained_verifier.stop is not set: the training is one part")
    began = time.monotonic()
    if settings.method == "dpo" and settings.score == "reward":
        questions = with_references(context.gpu.scorer(whole.start), questions)
    parts = Parts(whole.checkpoints, input_hash(context, rows, whole.steps))
    before, looks = parts.newest() or (None, Looks())
    report.tokens = looks.found[-1].tokens if looks.found else 0
    while not looks.ended(whole.steps, stop.patience):
        done = looks.found[-1].step if looks.found else 0
        draft, report.loss_first = parts.draft(), None
        yield from _learn_part(context, whole, rows, done, before, draft, report)
        trainer = context.gpu.trainer()
        step = min(whole.steps, done + whole.settings.checkpoint_every)
        share, fewer = rank(trainer, draft, questions, settings, stop.k)
        looks.found.append(Look(step, share, fewer, report.tokens, (report.loss_first, report.loss_last)))
        before = parts.keep(draft, looks, before)
        record.keep_checkpoint(step)
        yield Progress(step, whole.steps, "steps", {"best_of_k": share})
    if before is None or looks.best is None:
        raise RuntimeError("a training of no steps has no adapter to keep")
    whole.out.mkdir(parents=True, exist_ok=True)
    for name in (WEIGHTS, CONFIG):
        shutil.copyfile(before / BEST / name, whole.out / name)
    rewrite_config(whole.out, record.origin().base)
    check_weights(whole.out / WEIGHTS, whole.settings.lora.rank)
    report.loss_first, report.loss_last = looks.found[0].losses[0], looks.best.losses[1]
    report.steps, report.examples_seen = looks.best.step, looks.best.step * settings.batch_size
    report.more = {
        **report.more,
        "stop": {
            "k": stop.k,
            "questions": len(questions),
            "trained_steps": looks.found[-1].step,
            "looks": [
                {"step": one.step, "best_of_k": one.best_of_k, "best_of_fewer": one.best_of_fewer}
                for one in looks.found
            ],
        },
    }
    record.finish_training(whole.out, report.as_json(time.monotonic() - began))


def _learn_part(
    context: Context,
    whole: TrainingJob,
    rows: Sequence[PairRow],
    done: int,
    before: Path | None,
    draft: Path,
    report: TrainingReport,
) -> Work:
    """The steps from `done` to the next look, into `draft`."""
    settings = verifier_of(context.config)
    steps = min(whole.steps - done, whole.settings.checkpoint_every)
    batch = whole.settings.batch_size // (1 if settings.method == "dpo" else 2)
    some = part_of(rows, done * batch, steps * batch, whole.seed)
    job = replace(
        _job(context, some, steps, whole.seed + done, draft, whole.checkpoints / "within"),
        settings=whole.settings.model_copy(
            update={"optimizer": "carry", "start_from": "previous", "decay_share": 0.0}
        ),
        start=whole.start if before is None else before,
        moments=None if before is None else before / OPTIMIZER,
    )
    curve: list[TrainingProgress] = []
    tokens = report.tokens
    for progress in context.gpu.trainer().train(job):
        at = replace(progress, step=done + progress.step, steps=whole.steps, tokens=tokens + progress.tokens)
        report.take(at)
        curve.append(at)
        yield Progress(at.step, whole.steps, "steps", {"loss": round(at.loss, 6)})
    context.record.keep_curve(curve)


def training_of(config: StarConfig) -> Training:
    """The job's training settings as the verifier is trained with them: its adapter has the same shape."""
    settings = verifier_of(config)
    return config.training.model_copy(
        update={
            "start_from": "base",
            "optimizer": "fresh",
            "schedule": settings.schedule,
            "loss": "completion",
            "batch_size": settings.batch_size * (1 if settings.method == "dpo" else 2),  # texts of yes or no
            "batch_tokens": None,
            "learning_rate": settings.learning_rate,
        }
    )


def is_learnable(row: PairRow, settings: TrainedVerifier) -> bool:
    """Whether a training can hold it: the reference model has had no room for some."""
    return row.is_scored or settings.method == "yes_no"


def _judged(row: PairRow, end: str | None) -> tuple[TrainingText, TrainingText]:
    """A right text and a wrong one, so that both judgements are learned equally often of each question."""
    chosen, rejected = pair_texts(row, end)
    return judged_text(chosen, right=True), judged_text(rejected, right=False)


def _described(settings: TrainedVerifier, rows: Sequence[PairRow]) -> dict[str, Any]:
    """What who ranks with the adapter must know of it."""
    dpo = {"reference": settings.reference, "beta": settings.beta} if settings.method == "dpo" else {}
    return {"method": settings.method, **dpo, "pairs": len(rows)}


def _metrics(config: StarConfig, counts: Counts) -> dict[str, Any]:
    report = dict(counts.training(AdapterRole.VERIFIER))
    return {"verifier_training": report} if report else {}


TRAIN_VERIFIER = Phase(PhaseName.TRAIN_VERIFIER, _run, metrics=_metrics, role=AdapterRole.VERIFIER)
