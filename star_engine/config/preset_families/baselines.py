"""What STaR is compared with: few-shot prompting, and fine-tuning on texts of the dataset."""

from __future__ import annotations

from star_engine.config.evaluation import Evaluation
from star_engine.config.preset_families.paper_steps import paper_training
from star_engine.config.schedules import EpochsSchedule, Schedule
from star_engine.config.star import Audits, Rationalization, StarConfig
from star_engine.config.training_set import Source, TrainingSetOptions
from star_engine.tasks.kind import Kind


def few_shot_direct(kind: Kind) -> StarConfig:
    """The baseline of section 4, Tables 1 and 2: few-shot examples without rationales; nothing is trained."""
    return StarConfig(
        kind=kind, baselines_only=True, iterations=1, evaluation=Evaluation(baselines=("few_shot_direct",))
    )


def few_shot_cot(kind: Kind) -> StarConfig:
    """The baseline of section 4, Tables 1 and 2: few-shot examples with rationales; nothing is trained."""
    return StarConfig(
        kind=kind, baselines_only=True, iterations=1, evaluation=Evaluation(baselines=("few_shot_cot",))
    )


def direct_fine_tune(kind: Kind) -> StarConfig:
    """The baseline of section 4, Tables 1 and 2: from question to answer without a rationale, asked directly.

    GPT-J gets 60.0 % of CommonsenseQA and 5.8 % of GSM8K that way. One training from the base model. Addition
    (4.3) is trained for 5,000 steps on 10,000 examples, which are some 150 passes; on fewer examples the
    passes stay and the steps scale. For the others the paper does not say how long: three epochs are ours.
    """
    if kind is Kind.SCRATCHPAD:
        direct = _given(kind, Source.ANSWERS, EpochsSchedule(epochs=150, max_steps=5000))
        return direct.model_copy(update={"examples_per_iteration": 10_000})
    return _given(kind, Source.ANSWERS, EpochsSchedule(epochs=3))


def gold_rationale_fine_tune(kind: Kind) -> StarConfig:
    """Fine-tuning on human solutions, which the paper does not do: what its rationales are compared with.

    As GSM8K's own fine-tuning baseline (Cobbe et al. 2021, arXiv 2110.14168). The dataset needs solutions;
    those whose answer is not the gold one are left out. Three epochs are ours.
    """
    return _given(kind, Source.SOLUTIONS, EpochsSchedule(epochs=3))


def _given(kind: Kind, source: Source, schedule: Schedule) -> StarConfig:
    return StarConfig(
        kind=kind,
        iterations=1,
        rationalization=Rationalization(enabled=False),
        training_set=TrainingSetOptions(source=source, filters=()),
        training=paper_training(schedule),
        audits=Audits(spark_level=None),  # nothing is bootstrapped: no spark is needed
    )
