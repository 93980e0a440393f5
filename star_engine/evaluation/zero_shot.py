"""How an adapter that thinks between tokens is asked questions: without examples, as text that goes on."""

from __future__ import annotations

from typing import Literal

from star_engine.config.evaluation import Evaluation
from star_engine.config.star import Generation, Rationalization, StarConfig
from star_engine.config.training_set import Source, TrainingSetOptions
from star_engine.evaluation.accuracy import DIRECT_MAX_TOKENS
from star_engine.tasks.kind import Kind, reads_documents


def zero_shot_config(
    kind: Kind,
    *,
    seed: int,
    split: Literal["validation", "test"] = "validation",
    max_examples: int | None = None,
    max_tokens: int | None = None,
) -> StarConfig:
    """Settings under which the phases ask such an adapter, with its thoughts and without them.

    It has learned no way to write an answer, so the answer alone is asked for, in DIRECT_MAX_TOKENS at most
    unless `max_tokens` says otherwise. Documents are gone on with, and nothing is judged.
    """
    if reads_documents(kind):
        source, filters = Source.RATIONALES, TrainingSetOptions().filters
    else:
        source, filters = Source.ANSWERS, ("hint_markers",)
    return StarConfig(
        kind=kind,
        iterations=1,
        seed=seed,
        layout="completion",
        generation=Generation(max_tokens=max_tokens or DIRECT_MAX_TOKENS),
        rationalization=Rationalization(enabled=False),
        training_set=TrainingSetOptions(source=source, filters=filters),
        evaluation=Evaluation(split=split, max_examples=max_examples, baselines=(), without_thoughts=True),
    )
