"""Train a verifier on the recorded pairs: by DPO (V-STaR, arXiv 2402.06457), or as a yes or no."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from star_engine.adapters.roles import AdapterRole
from star_engine.config.pairs import TrainedVerifier
from star_engine.config.star import StarConfig, Training
from star_engine.data.selection import training_seed, training_steps
from star_engine.evaluation.yes_no import judged_text
from star_engine.loop import PhaseName
from star_engine.phases.pairs import pair_texts, preference_pair, verifier_of
from star_engine.phases.phase import Context, Phase, Progress, Work
from star_engine.phases.train import TrainingReport, learn
from star_engine.protocols import Preference, PreferencePair, TrainingJob, TrainingText
from star_engine.record import Counts
from star_engine.training_set.pairs import PairRow

VERIFIER_SEED = 7919  # apart from the generator's of the same iteration, which the job's own seed gives


def _run(context: Context) -> Work:
    record, settings = context.record, verifier_of(context.config)
    if record.has_weights():  # an earlier attempt recorded them and died before the phase's end
        record.finish_training(None, {})
        return
    rows = [row for row in record.pairs().recorded() if not row.held_out and is_learnable(row, settings)]
    if not rows:  # the metrics of the phase before say why
        record.skip()
        return
    training = training_of(context.config)
    data: tuple[PreferencePair, ...] | tuple[TrainingText, ...]
    end, preference = context.prompt_set.end, None
    if settings.method == "dpo":
        data = tuple(preference_pair(row, end) for row in rows)
        preference = Preference(settings.beta, settings.nll)
    else:
        data = tuple(text for row in rows for text in _judged(row, end))
        training = training.model_copy(update={"batch_size": 2 * settings.batch_size})
    steps = training_steps(training, context.iteration, len(data), None)
    seed = training_seed(context.config.seed + VERIFIER_SEED, context.iteration)
    first = settings.method == "dpo" and settings.reference == "first_iteration"
    start = record.adapter(1) if first else None
    report = TrainingReport(
        steps,
        seed,
        "iteration 1" if first else "base",
        len(rows),
        steps * settings.batch_size,
        more=_described(settings, rows),
    )
    yield Progress(0, steps, "steps")
    checkpoints, out = record.checkpoints(), record.weights_folder()
    job = TrainingJob(data, training, steps, seed, out, checkpoints, start, preference=preference)
    yield from learn(context, job, report)


def training_of(config: StarConfig) -> Training:
    """The job's training settings as the verifier is trained with them: its adapter has the same shape."""
    settings = verifier_of(config)
    return config.training.model_copy(
        update={
            "start_from": "base",
            "optimizer": "fresh",
            "schedule": settings.schedule,
            "loss": "completion",
            "batch_size": settings.batch_size,
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
