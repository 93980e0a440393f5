"""Named settings with their source. A preset is a starting point: everything in it can be overridden.

Steps are the paper's; the learning rate is ours, since a LoRA adapter without GPT-J's optimizer moments
needs a far larger one than the paper's 1e-6.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from star_engine.config.schedules import EpochsSchedule, GeometricSchedule, LinearSchedule
from star_engine.config.star import (
    Audits,
    Evaluation,
    Generation,
    Labels,
    Rationalization,
    StarConfig,
    StopRule,
    Training,
)
from star_engine.config.training_set import Source, TrainingSetOptions
from star_engine.tasks.hints import HintForm
from star_engine.tasks.kind import Kind


def star(kind: Kind) -> StarConfig:
    """STaR as in the paper (arXiv 2203.14465): greedy, one try, rationalization, always from the base model.

    Addition (4.3): 16 iterations of 300 + 20 (n-1) steps on 10,000 of 50,000 examples each. GSM8K (4.5): 36
    iterations of 40 x 1.2^(n-1) steps, held at the 7,912 of iteration 30. CommonsenseQA (4.4): the same
    schedule until a plateau, with the few-shot examples in the training text (72.5 against 69.9 % without).
    The filters are ours; an empty `training_set.filters` is the paper's bare rule. Kinds that the paper does
    not have (exact, math, pattern) take GSM8K's settings.
    """
    if kind is Kind.SCRATCHPAD:
        return StarConfig(
            kind=kind,
            iterations=16,
            examples_per_iteration=10_000,
            training=Training(schedule=LinearSchedule(start=300, add=20)),
            training_set=TrainingSetOptions(filters=("hint_markers", "answer_only", "step_arithmetic")),
        )
    if kind is Kind.CHOICE:
        return StarConfig(
            kind=kind,
            iterations=30,
            training=Training(schedule=GeometricSchedule(start=40, factor=1.2)),
            training_set=TrainingSetOptions(few_shot_in_prompt=True),
            stop=StopRule(patience=3),
        )
    return StarConfig(
        kind=kind,
        iterations=36,
        training=Training(schedule=GeometricSchedule(start=40, factor=1.2, max_steps=7912)),
    )


def star_without_rationalization(kind: Kind) -> StarConfig:
    """The paper's ablation (section 4, Tables 1 and 2): as `star`, failures are given up."""
    return star(kind).model_copy(update={"rationalization": Rationalization(enabled=False)})


def star_released_code(kind: Kind) -> StarConfig:
    """STaR as its released code runs it by default (ezelikman/STaR, beside arXiv 2203.14465).

    One epoch over each training set, near-greedy decoding (T = 0.01, top-p 0.9), 100 steps of warm-up at a
    constant rate, loss on all tokens, no filter and no deduplication. GSM8K's hint is the whole human
    solution instead of the answer: the dataset needs solutions.
    """
    paper = star(kind)
    hint = HintForm.FULL_SOLUTION if kind is Kind.NUMERIC else None
    return paper.model_copy(
        update={
            "generation": Generation(temperature=0.01, top_p=0.9),
            "rationalization": Rationalization(hint=hint),
            "training": Training(schedule=EpochsSchedule(epochs=1), warmup_steps=100, loss="all"),
            "training_set": TrainingSetOptions(filters=(), dedupe=False),
        }
    )


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


def rft(kind: Kind) -> StarConfig:
    """Rejection sampling fine-tuning (Yuan et al. 2023, arXiv 2308.01825): one round of 100 tries at T = 0.7.

    Duplicates go. Unlike there, the human rationales are not mixed in and duplicates are found by text.
    """
    return StarConfig(
        kind=kind,
        iterations=1,
        generation=Generation(temperature=0.7, samples_per_example=100),
        rationalization=Rationalization(enabled=False),
    )


def rest_em(kind: Kind) -> StarConfig:
    """ReST-EM (Singh et al. 2023, arXiv 2312.06585): 32 tries at T = 0.7, top-k 40, at most 10 kept of each.

    Three iterations, each from the base model; no rationalization, which raised false positives there.
    """
    return StarConfig(
        kind=kind,
        iterations=3,
        generation=Generation(temperature=0.7, top_k=40, samples_per_example=32),
        rationalization=Rationalization(enabled=False),
        training_set=TrainingSetOptions(max_per_example=10),
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


def direct_fine_tune(kind: Kind) -> StarConfig:
    """The baseline of section 4, Tables 1 and 2: from question to answer without a rationale, asked directly.

    GPT-J gets 60.0 % of CommonsenseQA and 5.8 % of GSM8K that way. One training from the base model; the
    paper does not say how long, three epochs are ours.
    """
    return _given(kind, Source.ANSWERS)


def gold_rationale_fine_tune(kind: Kind) -> StarConfig:
    """Fine-tuning on human solutions, which the paper does not do: what its rationales are compared with.

    As GSM8K's own fine-tuning baseline (Cobbe et al. 2021, arXiv 2110.14168). The dataset needs solutions;
    those whose answer is not the gold one are left out. Three epochs, as in `direct-fine-tune`.
    """
    return _given(kind, Source.SOLUTIONS)


def _given(kind: Kind, source: Source) -> StarConfig:
    return StarConfig(
        kind=kind,
        iterations=1,
        rationalization=Rationalization(enabled=False),
        training_set=TrainingSetOptions(source=source, filters=()),
        training=Training(schedule=EpochsSchedule(epochs=3)),
        audits=Audits(spark_level=None),  # nothing is bootstrapped: no spark is needed
    )


PRESETS: dict[str, Callable[[Kind], StarConfig]] = {
    "star": star,
    "star-without-rationalization": star_without_rationalization,
    "star-released-code": star_released_code,
    "few-shot-direct": few_shot_direct,
    "few-shot-cot": few_shot_cot,
    "direct-fine-tune": direct_fine_tune,
    "gold-rationale-fine-tune": gold_rationale_fine_tune,
    "rft": rft,
    "rest-em": rest_em,
    "star-majority-vote": star_majority_vote,
}


def laid_beside(config: StarConfig, preset: str) -> dict[str, Any]:
    """The settings of a baseline beside this job: its own, but for what the preset changes against `star`.

    What is measured stays the job's, so that the two can be compared.
    """
    settings = config.model_dump(mode="json")
    usual = star(config.kind).model_dump(mode="json")
    other = PRESETS[preset](config.kind)
    changed = _changed(usual, other.model_dump(mode="json"))
    if other.training_set.source is not Source.RATIONALES:  # nothing is sampled, so nothing of it is set
        changed |= {"generation": {"samples_per_example": 1}, "training_set": settings["training_set"]}
        changed["training_set"] |= {"source": other.training_set.source.value, "filters": [], "checks": []}
    return laid_over(settings, changed) | {"evaluation": settings["evaluation"]}


def _changed(usual: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """What of `other` is not as usual. A section of another kind is new as a whole."""
    found: dict[str, Any] = {}
    for name, value in other.items():
        before = usual.get(name)
        if isinstance(value, Mapping) and isinstance(before, Mapping) and _same_kind(before, value):
            if inner := _changed(before, value):
                found[name] = inner
        elif value != before:
            found[name] = value
    return found


def laid_over(settings: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with others laid over them, at every depth.

    A section of another kind (a linear schedule over a geometric one) replaces the section whole.
    """
    merged = dict(settings)
    for name, above in overrides.items():
        below = merged.get(name)
        if isinstance(below, Mapping) and isinstance(above, Mapping) and _same_kind(below, above):
            merged[name] = laid_over(below, above)
        else:
            merged[name] = above
    return merged


def _same_kind(below: Mapping[str, Any], above: Mapping[str, Any]) -> bool:
    return bool(above.get("kind", below.get("kind")) == below.get("kind"))
