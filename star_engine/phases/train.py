"""Train: fine-tune the original model on the training set, or the previous adapter if configured so."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from star_engine.adapters.layout import WEIGHTS, check_weights, rewrite_config
from star_engine.config.star import StarConfig
from star_engine.data.selection import training_seed, training_steps
from star_engine.diagnostics.token_parity import (
    MAX_EXAMPLES,
    check_parity,
    parity_texts,
    row_name,
    token_digests,
)
from star_engine.loop import PhaseName
from star_engine.phases.pairs import preference_pair
from star_engine.phases.phase import Context, Phase, Progress, Work
from star_engine.protocols import (
    Distillation,
    DistilledText,
    Preference,
    PreferencePair,
    TrainingJob,
    TrainingProgress,
    TrainingText,
)
from star_engine.record import Counts
from star_engine.training_set.rows import TrainingExample
from star_engine.training_set.taught import taught_texts
from star_engine.training_set.window import in_window


@dataclass(slots=True)
class TrainingReport:
    """The recorded report of a training. `loss_first` is that of its first step, whoever has taken it."""

    steps: int
    seed: int
    started_from: str
    training_examples: int
    examples_seen: int
    tokens: int = 0
    too_long: int = 0  # rows left out, since they have more tokens than training.max_length
    loss_first: float | None = None
    loss_last: float | None = None
    memory: Mapping[str, Any] = field(default_factory=dict)  # how the device's was used, where it is told
    more: Mapping[str, Any] = field(default_factory=dict)  # what else this training goes by

    def take(self, progress: TrainingProgress) -> None:
        self.tokens, self.too_long = progress.tokens, progress.too_long
        if progress.tokens_at_once is not None:
            self.memory = {
                "tokens_at_once": progress.tokens_at_once,
                "checkpointed_layers": progress.checkpointed_layers,
                "ranks": progress.ranks,
                "sharded": progress.sharded,
                "sampler_share": progress.sampler_share,
            }
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
            **self.memory,
            **self.more,
        }


def _run(context: Context) -> Work:
    record, training = context.record, context.config.training
    if record.has_weights():  # an earlier attempt recorded them and died before the phase's end
        record.finish_training(None, {})
        return
    learned = _learned(context)
    rows = len(learned.data)
    tokens = None if training.batch_tokens is None else _tokens_in(context, learned.data)
    steps = training_steps(training, context.iteration, rows, tokens)
    seed = training_seed(context.config.seed, context.iteration)
    previous = context.iteration - 1 if training.start_from == "previous" else 0
    start = record.adapter(previous) if previous > 0 else None
    source = "base" if start is None else f"iteration {previous}"
    moments = record.optimizer(previous) if start is not None and training.optimizer == "carry" else None
    seen = steps * training.batch_size
    if training.batch_tokens is not None and tokens:
        seen = round(steps * training.batch_tokens * rows / tokens)  # up to what stays free of a batch
    more = learned.as_json() | ({} if moments is None else {"optimizer_from": source})
    if training.quantization is not None:
        more |= {"quantization": training.quantization}
    report = TrainingReport(steps, seed, source, rows, seen, loss_first=record.first_loss(), more=more)
    yield Progress(0, steps, "steps")
    checkpoints, out = record.checkpoints(), record.weights_folder()
    _check_tokens(context)
    losses = (learned.preference, learned.distillation)
    job = TrainingJob(learned.data, training, steps, seed, out, checkpoints, start, moments, *losses)
    yield from learn(context, job, report)


Data = tuple[TrainingText, ...] | tuple[PreferencePair, ...] | tuple[DistilledText, ...]


@dataclass(frozen=True, slots=True)
class Learned:
    """What is learned, and by which loss."""

    data: Data
    preference: Preference | None = None
    distillation: Distillation | None = None

    def as_json(self) -> dict[str, Any]:
        """The loss, for the report of the training."""
        return {} if (how := self.preference or self.distillation) is None else asdict(how)


def _learned(context: Context) -> Learned:
    """The rows of the window, the iteration's pairs, or its tries with a teacher."""
    config, record, prompt_set = context.config, context.record, context.prompt_set
    if (how := config.preference) is not None:
        pairs = [row for row in record.pairs().recorded() if row.is_scored]
        data = tuple(preference_pair(row, prompt_set.end) for row in pairs)
        return Learned(data, preference=Preference(how.beta, how.nll))
    if (teach := config.self_distillation) is not None:
        surplus = record.surplus()
        tries = [one for one in record.tries() if one.key.example_id not in surplus]
        taught = taught_texts(config, prompt_set, record.iteration_examples(), tries, teach.hint)
        how_far = Distillation(teach.beta, teach.temperature, teach.top_k, teach.clip)
        return Learned(taught, distillation=how_far)
    rows = in_window(config, [rows for _, rows in record.training_sets()])
    return Learned(tuple(_text(row, prompt_set.end) for row in rows))


def _text(row: TrainingExample, end: str | None) -> TrainingText:
    masked = tuple((start, stop) for start, stop, _ in row.masked)
    return TrainingText(row.prompt, row.completion, masked, end, row.turns)


def learn(context: Context, job: TrainingJob, report: TrainingReport) -> Work:
    """Train, keep the curve and the resume points on the way, and record the weights."""
    record, steps, out = context.record, job.steps, job.out
    began = time.monotonic()
    curve: list[TrainingProgress] = []
    for progress in context.gpu.trainer().train(job):
        report.take(progress)
        curve.append(progress)
        if progress.step % job.settings.checkpoint_every == 0 or progress.step == steps:
            record.keep_curve(curve)  # before the resume point, behind which no attempt does them again
            curve = []
        record.keep_checkpoint(progress.step)
        yield Progress(progress.step, steps, "steps", {"loss": round(progress.loss, 6)})
    rewrite_config(out, record.origin().base)
    check_weights(out / WEIGHTS, job.settings.lora.rank)
    record.finish_training(out, report.as_json(time.monotonic() - began))


def _tokens_in(context: Context, data: Data) -> int:
    """Count the tokens of all rows, each with its EOS; of a pair or a try with a teacher those of both."""
    texts: list[str] = []
    for one in data:
        if isinstance(one, PreferencePair):
            both = [one.chosen, one.rejected]
        else:
            both = [one.student, one.teacher] if isinstance(one, DistilledText) else [one]
        texts += [text.prompt + text.completion for text in both]
    counted = context.gpu.trainer().training_token_ids(texts)
    return sum(len(ids) + 1 for ids in counted)


def _check_tokens(context: Context) -> None:
    """Compare the trainer's tokens with the digests that the sampler left. Raises TokenMismatch."""
    sampled = context.record.diagnostics().get("sampler_tokens")
    if sampled is None:  # sampled by a version that left none
        return
    few = context.record.iteration_examples(MAX_EXAMPLES)
    texts = parity_texts(context.config, context.prompt_set, few)
    check_parity(texts, sampled, token_digests(context.gpu.trainer().training_token_ids(texts)))
    if calling := context.record.diagnostics().get("sampler_tool_tokens"):
        _check_calling(context, calling)


def _check_calling(context: Context, sampled: Mapping[str, str]) -> None:
    """The same of the iteration's rows with words of a tool, by their names."""
    _, rows = context.record.training_sets()[-1]
    known = [row for row in rows if row_name(row.key) in sampled]
    digests = token_digests(context.gpu.trainer().training_token_ids([_text(row, None) for row in known]))
    shown = [row.prompt + row.completion for row in known]
    check_parity(shown, [sampled[row_name(row.key)] for row in known], digests)


def _metrics(config: StarConfig, counts: Counts) -> dict[str, Any]:
    return {"training": dict(counts.training())}


TRAIN = Phase(PhaseName.TRAIN, _run, metrics=_metrics)
