"""STaR as in the paper, its ablations, its released code, and a small form of it."""

from __future__ import annotations

from star_engine.config.preset_families.paper_steps import RELEASED_STEP_TOKENS, paper_training
from star_engine.config.schedules import EpochsSchedule, GeometricSchedule, LinearSchedule
from star_engine.config.star import Generation, Labels, Rationalization, StarConfig, StopRule, Training
from star_engine.config.training_set import TrainingSetOptions
from star_engine.tasks.hints import HintForm
from star_engine.tasks.kind import Kind


def star(kind: Kind) -> StarConfig:
    """STaR as in the paper (arXiv 2203.14465): greedy, one try, rationalization, from the base each time.

    Addition (4.3): 16 iterations of 300 + 20 (n-1) steps on 10,000 of 50,000 examples each. GSM8K (4.5): 36
    iterations of 40 x 1.2^(n-1) steps, held at the 7,912 of iteration 30; the paper adds rationalization for
    another 12, here it is on from the first. CommonsenseQA (4.4): the same schedule until a plateau, with
    the few-shot examples in the training text (72.5 against 69.9 % without). A step is 8 packed sequences of
    1,024 tokens and the rate rises over 100 steps (4.1), so that iterations of 40 steps never reach it. The
    filters are ours; an empty `training_set.filters` is the paper's bare rule. Kinds that the paper does not
    have (exact, math, pattern) take GSM8K's settings.
    """
    if kind is Kind.SCRATCHPAD:
        return StarConfig(
            kind=kind,
            iterations=16,
            examples_per_iteration=10_000,
            training=paper_training(LinearSchedule(start=300, add=20)),
            training_set=TrainingSetOptions(filters=("hint_markers", "answer_only", "step_arithmetic")),
        )
    if kind is Kind.CHOICE:
        return StarConfig(
            kind=kind,
            iterations=30,
            training=paper_training(GeometricSchedule(start=40, factor=1.2)),
            training_set=TrainingSetOptions(few_shot_in_prompt=True),
            stop=StopRule(patience=3),
        )
    return StarConfig(
        kind=kind,
        iterations=36,
        training=paper_training(GeometricSchedule(start=40, factor=1.2, max_steps=7912)),
    )


def quick(kind: Kind) -> StarConfig:
    """STaR for a first try on small data, up to some 2,000 examples: 3 iterations of 3 passes over the rows.

    The algorithm is the paper's (arXiv 2203.14465): greedy, rationalization, from the base model each time.
    Its amount of training is not: on 200 examples `star` would show every row hundreds of times.
    """
    return star(kind).model_copy(
        update={
            "iterations": 3,
            "examples_per_iteration": None,
            "training": Training(schedule=EpochsSchedule(epochs=3), warmup_steps=5),
            "stop": StopRule(),
        }
    )


def star_without_rationalization(kind: Kind) -> StarConfig:
    """The paper's ablation (section 4, Tables 1 and 2): as `star`, failures are given up.

    Addition is trained for 40 x 1.2^(n-1) steps: with 300 + 20 (n-1) and no rationalization the paper saw it
    overfit one-digit sums (4.3).
    """
    config = star(kind).model_copy(update={"rationalization": Rationalization(enabled=False)})
    if kind is not Kind.SCRATCHPAD:
        return config
    return config.model_copy(update={"training": paper_training(GeometricSchedule(start=40, factor=1.2))})


def star_released_code(kind: Kind) -> StarConfig:
    """STaR as its released code runs it by default (ezelikman/STaR, beside arXiv 2203.14465).

    Without rationalization (--rationalize is off), 10,000 examples an iteration, up to 63 iterations without
    an early stop, one epoch and a fifth more with every iteration, 96 tokens, near-greedy decoding (T = 0.01,
    top-p 0.9), 8 sequences of 1,536 tokens a step, 100 steps of warm-up, loss on all tokens, no filter and no
    deduplication. Switched on, its hint for GSM8K is the whole human solution: the dataset needs solutions.
    """
    hint = HintForm.FULL_SOLUTION if kind is Kind.NUMERIC else None
    return StarConfig(
        kind=kind,
        iterations=63,
        examples_per_iteration=10_000,
        generation=Generation(temperature=0.01, top_p=0.9, max_tokens=96),
        rationalization=Rationalization(enabled=False, hint=hint),
        training=Training(
            schedule=EpochsSchedule(epochs=1, add=0.2),
            batch_tokens=RELEASED_STEP_TOKENS,
            max_length=1536,
            warmup_steps=100,
            loss="all",
        ),
        training_set=TrainingSetOptions(filters=(), dedupe=False),
    )


def star_majority_vote(kind: Kind) -> StarConfig:
    """STaR on questions without answers, an ablation of the paper (Appendix H): the vote stands for the gold.

    The paper compares one low-temperature try with the vote; as in Huang et al. 2022 (arXiv 2210.11610) all
    32 tries at T = 0.7 vote and those that agree with it are kept. More than half must agree, which is ours.
    No rationalization: it would show the gold answer.
    """
    return star(kind).model_copy(
        update={
            "labels": Labels.MAJORITY_VOTE,
            "generation": Generation(temperature=0.7, samples_per_example=32),
            "rationalization": Rationalization(enabled=False),
        }
    )
