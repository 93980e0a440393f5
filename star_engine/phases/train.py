"""Train: fine-tune the original model on the training set, or the previous adapter if configured so."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from star_engine.adapters.layout import WEIGHTS, check_weights, rewrite_config
from star_engine.config.star import StarConfig
from star_engine.data.selection import training_seed, training_steps
from star_engine.diagnostics.token_parity import MAX_EXAMPLES, check_parity, parity_texts, token_digests
from star_engine.loop import PhaseName
from star_engine.phases.phase import Context, Phase, Progress, Work
from star_engine.protocols import TrainingJob, TrainingProgress, TrainingText
from star_engine.record import Counts
from star_engine.training_set.window import in_window


@dataclass(slots=True)
class _Report:
    """The recorded report of a training. Losses are those of the steps since it last resumed."""

    steps: int
    seed: int
    started_from: str
    training_examples: int
    examples_seen: int
    tokens: int = 0
    too_long: int = 0  # rows left out, since they have more tokens than training.max_length
    loss_first: float | None = None
    loss_last: float | None = None

    def take(self, progress: TrainingProgress) -> None:
        self.tokens, self.too_long = progress.tokens, progress.too_long
        self.loss_last = round(progress.loss, 6)
        self.loss_first = self.loss_last if self.loss_first is None else self.loss_first

    def as_json(self, seconds: float) -> dict[str, Any]:
        return {
            "steps": self.steps,
            "seed": self.seed,
            "started_from": self.started_from,
            "training_examples": self.training_examples,
            "examples_seen": self.examples_seen,
            "tokens": self.tokens,
            "too_long": self.too_long,
            "loss_first": self.loss_first,
            "loss_last": self.loss_last,
            "seconds": round(seconds, 3),
        }


def _run(context: Context) -> Work:
    record, training = context.record, context.config.training
    if record.has_weights():  # an earlier attempt recorded them and died before the phase's end
        record.finish_training(None, {})
        return
    rows = in_window(context.config, [rows for _, rows in record.training_sets()])
    texts = tuple(TrainingText(row.prompt, row.completion, end=context.prompt_set.end) for row in rows)
    tokens = None if training.batch_tokens is None else _tokens_in(context, texts)
    steps = training_steps(training, context.iteration, len(rows), tokens)
    seed = training_seed(context.config.seed, context.iteration)
    previous = context.iteration - 1 if training.start_from == "previous" else 0
    start = record.adapter(previous) if previous > 0 else None
    source = "base" if start is None else f"iteration {previous}"
    seen = steps * training.batch_size
    if training.batch_tokens is not None and tokens:
        seen = round(steps * training.batch_tokens * len(rows) / tokens)  # up to what stays free of a batch
    report = _Report(steps, seed, source, len(rows), seen)
    yield Progress(0, steps, "steps")
    checkpoints, out = record.checkpoints(), record.weights_folder()
    _check_tokens(context)
    began = time.monotonic()
    job = TrainingJob(texts, training, steps, seed, out, checkpoints, start)
    curve: list[TrainingProgress] = []
    for progress in context.gpu.trainer().train(job):
        report.take(progress)
        curve.append(progress)
        if progress.step % training.checkpoint_every == 0 or progress.step == steps:
            record.keep_curve(curve)  # before the resume point, behind which no attempt does them again
            curve = []
        record.keep_checkpoint(progress.step)
        yield Progress(progress.step, steps, "steps", {"loss": round(progress.loss, 6)})
    rewrite_config(out, record.origin().base)
    check_weights(out / WEIGHTS, training.lora.rank)
    record.finish_training(out, report.as_json(time.monotonic() - began))


def _tokens_in(context: Context, texts: Sequence[TrainingText]) -> int:
    """Count the tokens of all these rows, each with its EOS."""
    counted = context.gpu.trainer().training_token_ids([text.prompt + text.completion for text in texts])
    return sum(len(ids) + 1 for ids in counted)


def _check_tokens(context: Context) -> None:
    """Compare the trainer's tokens with the digests that the sampler left. Raises TokenMismatch."""
    sampled = context.record.diagnostics().get("sampler_tokens")
    if sampled is None:  # sampled by a version that left none
        return
    few = context.record.iteration_examples(MAX_EXAMPLES)
    texts = parity_texts(context.config, context.prompt_set, few)
    check_parity(texts, sampled, token_digests(context.gpu.trainer().training_token_ids(texts)))


def _metrics(config: StarConfig, counts: Counts) -> dict[str, Any]:
    return {"training": dict(counts.training())}


TRAIN = Phase(PhaseName.TRAIN, _run, metrics=_metrics)
