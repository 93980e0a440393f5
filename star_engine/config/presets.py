"""Named settings with their source. A preset is a starting point: everything in it can be overridden.

Steps, batches and warm-up are the paper's. The learning rate is ours, since a LoRA adapter without GPT-J's
optimizer moments needs a far larger one than the paper's 1e-6. Every other deviation is in `fidelity.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from star_engine.config.controller import Controller
from star_engine.config.distillation import SelfDistillation
from star_engine.config.evaluation import Evaluation, TestTime
from star_engine.config.pairs import PreferenceTraining, TrainedVerifier
from star_engine.config.schedules import (
    EpochsSchedule,
    FixedSchedule,
    GeometricSchedule,
    LinearSchedule,
    Schedule,
)
from star_engine.config.selection import Selection, SelectionOrder
from star_engine.config.star import (
    Audits,
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

STEP_TOKENS = 8 * 1024  # of the paper's step: 8 packed sequences (appendix G); 42 rows of GSM8K
RELEASED_STEP_TOKENS = 8 * 1536  # of configs/qa_base.json in the released code


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
            training=_training(LinearSchedule(start=300, add=20)),
            training_set=TrainingSetOptions(filters=("hint_markers", "answer_only", "step_arithmetic")),
        )
    if kind is Kind.CHOICE:
        return StarConfig(
            kind=kind,
            iterations=30,
            training=_training(GeometricSchedule(start=40, factor=1.2)),
            training_set=TrainingSetOptions(few_shot_in_prompt=True),
            stop=StopRule(patience=3),
        )
    return StarConfig(
        kind=kind,
        iterations=36,
        training=_training(GeometricSchedule(start=40, factor=1.2, max_steps=7912)),
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
    return config.model_copy(update={"training": _training(GeometricSchedule(start=40, factor=1.2))})


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

    Three epochs, as there. Duplicates go. Unlike there, the human rationales are not mixed in and duplicates
    are found by text.
    """
    return StarConfig(
        kind=kind,
        iterations=1,
        training=_training(EpochsSchedule(epochs=3)),
        generation=Generation(temperature=0.7, samples_per_example=100),
        rationalization=Rationalization(enabled=False),
    )


def rest_em(kind: Kind) -> StarConfig:
    """ReST-EM (Singh et al. 2023, arXiv 2312.06585): 32 tries at T = 0.7, top-k 40, at most 10 kept of each.

    Three iterations, each from the base model; no rationalization, which raised false positives there. It
    trains until its validation loss rises; the three epochs are ours.
    """
    return StarConfig(
        kind=kind,
        iterations=3,
        training=_training(EpochsSchedule(epochs=3)),
        generation=Generation(temperature=0.7, top_k=40, samples_per_example=32),
        rationalization=Rationalization(enabled=False),
        training_set=TrainingSetOptions(max_per_example=10),
    )


def expert_iteration(kind: Kind) -> StarConfig:
    """Expert iteration, for language models as in Havrilla et al. 2024 (arXiv 2403.04642): 96 tries at T = 1.

    In each of its 4 rounds the base model is trained again on the distinct right answers of all rounds. RFT
    is one such round; ReST-EM trains on the newest one's, at most 10 of each question. How many rounds
    and the three epochs are ours. At the end and at the beginning 32 answers to each held-out question say
    what training has narrowed: that paper finds it to solve little beyond what 96 tries of the base model do.
    """
    return StarConfig(
        kind=kind,
        iterations=4,
        training=_training(EpochsSchedule(epochs=3)),
        generation=Generation(temperature=1.0, samples_per_example=96),
        rationalization=Rationalization(enabled=False),
        training_set=TrainingSetOptions(window="all"),
        evaluation=Evaluation(test_time=TestTime(samples=32, temperature=1.0)),
    )


def adastar(kind: Kind) -> StarConfig:
    """AdaSTaR (Koh et al. 2025, arXiv 2505.16322): what was not tried for longest, the hardest first, until
    the steps have their rows.

    The paper's: 40 x 1.2^(n-1) steps of 8 rows, one try at T = 1.0 and top-p 0.9 and one with the hint, all
    training sets so far, the share done with is accuracy squared. It runs for as long as its budget; 10
    iterations are ours, and so is giving up an example after 10 iterations without a right try, whose gold
    answer is probably wrong. Accuracy is that of sampling with the hint's rescues, as in its released code.
    """
    return StarConfig(
        kind=kind,
        iterations=10,
        selection=Selection(order=SelectionOrder.ADAPTIVE, max_unsolved=10),
        generation=Generation(temperature=1.0, top_p=0.9),
        training_set=TrainingSetOptions(window="all"),
        training=Training(schedule=GeometricSchedule(start=40, factor=1.2), batch_size=8, warmup_steps=100),
    )


def b_star(kind: Kind) -> StarConfig:
    """B-STaR (Zeng et al. 2024, arXiv 2412.17256) without a reward model: iterations find their temperature.

    The paper's: 9 iterations of 500 steps of 128 rows at 5e-6, 64 tries of a question, temperatures 0.5 to
    1.2, 600 probe questions, weights and optimizer carried on. Ours: 4 iterations of 100 steps, 16 tries and
    200 probes, from the adapter before with a fresh optimizer. Its large gains are with a process reward
    model; with checked answers alone it tunes the temperature, and promises no more than the best fixed one.
    """
    return StarConfig(
        kind=kind,
        iterations=4,
        controller=Controller(),
        generation=Generation(temperature=0.7, samples_per_example=16),
        rationalization=Rationalization(enabled=False),
        training_set=TrainingSetOptions(max_per_example=8),
        training=Training(
            start_from="previous", schedule=FixedSchedule(steps=100), batch_size=32, warmup_steps=10
        ),
    )


def v_star(kind: Kind) -> StarConfig:
    """V-STaR (Hosseini et al. 2024, arXiv 2402.06457): the wrong tries train a verifier, which ranks answers.

    3 iterations of 16 tries, each from the base model on the right answers of all so far; at the end a
    verifier by DPO on right against wrong ones, ranked by likelihood. Without rationalization, which the
    authors found to add false positives. Temperature, rate, beta and pairs a question are not in the paper:
    0.7, 1e-4, 0.1 and 8 are ours, as is the base model for the reference where the paper has one tuned on
    solutions (`trained_verifier.reference: first_iteration` comes closest). At the beginning and at the end
    64 answers to each held-out question, ranked by the verifier, and by what it has to beat.
    """
    return StarConfig(
        kind=kind,
        iterations=3,
        training=_training(EpochsSchedule(epochs=2)),
        generation=Generation(temperature=0.7, samples_per_example=16),
        rationalization=Rationalization(enabled=False),
        training_set=TrainingSetOptions(window="all"),
        trained_verifier=TrainedVerifier(),
        evaluation=Evaluation(test_time=TestTime(samples=64, scorer="verifier")),
    )


def iterative_rpo(kind: Kind) -> StarConfig:
    """Iterative RPO (Pang et al. 2024, arXiv 2404.19733): the generator learns right against wrong tries.

    4 iterations of 30 tries; at most 10 pairs of each question by DPO (beta 0.1) with the right text's own
    likelihood beside it (weight 1), each from the iteration before, which is the reference too. Temperature,
    one pass and the LoRA rate, a fifth of the others' since DPO moves further, are ours. With
    `labels: majority_vote` it is ScPO (arXiv 2411.04109): the answer of most tries against that of fewest,
    weighed by the lead; min_agreement says how sure the vote must be.
    """
    return StarConfig(
        kind=kind,
        iterations=4,
        training=Training(
            start_from="previous",
            schedule=EpochsSchedule(epochs=1),
            batch_size=16,
            learning_rate=2e-5,
            warmup_steps=10,
        ),
        generation=Generation(temperature=0.7, samples_per_example=30),
        rationalization=Rationalization(enabled=False),
        preference=PreferenceTraining(),
    )


def opsd(kind: Kind) -> StarConfig:
    """On-policy self-distillation (arXiv 2601.18734): the model teaches itself, with the answer in view.

    At each token of every try, right or wrong, the adapter is drawn to what the base model would have written
    with the gold answer in its prompt. 20 short iterations of one try and one pass, each from the one before,
    stand for the source's fresh tries in every step. Its code has beta 0.5 and temperature 1.1; the rate is
    that of the other presets. Rationalization, whose modern form it is, is off.
    """
    return StarConfig(
        kind=kind,
        iterations=20,
        training=Training(start_from="previous", schedule=EpochsSchedule(epochs=1), batch_size=32),
        generation=Generation(temperature=1.0, samples_per_example=1),
        rationalization=Rationalization(enabled=False),
        self_distillation=SelfDistillation(temperature=1.1),
    )


def opsd_wrong_hint(kind: Kind) -> StarConfig:
    """The control of `opsd` (arXiv 2606.11709): the teacher is shown another question's answer.

    What this gains as well comes from the form of the hinted prompt, such as shorter texts, and not from the
    answer.
    """
    taught = SelfDistillation(temperature=1.1, hint="wrong")
    return opsd(kind).model_copy(update={"self_distillation": taught})


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
        training=_training(schedule),
        audits=Audits(spark_level=None),  # nothing is bootstrapped: no spark is needed
    )


def _training(schedule: Schedule) -> Training:
    """The paper's steps: how many rows, and how the rate rises (section 4.1)."""
    return Training(schedule=schedule, batch_tokens=STEP_TOKENS, warmup_steps=100)


PRESETS: dict[str, Callable[[Kind], StarConfig]] = {
    "star": star,
    "quick": quick,
    "star-without-rationalization": star_without_rationalization,
    "star-released-code": star_released_code,
    "few-shot-direct": few_shot_direct,
    "few-shot-cot": few_shot_cot,
    "direct-fine-tune": direct_fine_tune,
    "gold-rationale-fine-tune": gold_rationale_fine_tune,
    "rft": rft,
    "rest-em": rest_em,
    "expert-iteration": expert_iteration,
    "adastar": adastar,
    "b-star": b_star,
    "v-star": v_star,
    "iterative-rpo": iterative_rpo,
    "opsd": opsd,
    "opsd-wrong-hint": opsd_wrong_hint,
    "star-majority-vote": star_majority_vote,
}


def laid_beside(config: StarConfig, preset: str) -> dict[str, Any]:
    """Return the settings of a baseline for this job: its own, changed as the preset changes `star`.

    What is measured stays the job's, so that the two can be compared.
    """
    settings = config.model_dump(mode="json")
    usual = star(config.kind).model_dump(mode="json")
    other = PRESETS[preset](config.kind)
    changed = _changed(usual, other.model_dump(mode="json"))
    if other.training_set.source is Source.RATIONALES and settings["training"] != usual["training"]:
        changed.pop("training", None)  # as long as the job, whatever that is
    if other.training_set.source is not Source.RATIONALES:  # nothing is sampled, so nothing of it is set
        changed |= {"generation": {"samples_per_example": 1}, "training_set": settings["training_set"]}
        changed["training_set"] |= {"source": other.training_set.source.value, "filters": [], "checks": []}
    return laid_over(settings, changed) | {"evaluation": settings["evaluation"]}


def _changed(usual: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of `other` that differ from the defaults; a section of another kind
    counts as a whole.
    """
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
    """Merge settings into others, at every depth.

    A section of another kind (a linear schedule over a geometric one) replaces the section whole. A
    batch_size by itself ends the counting in tokens.
    """
    merged = dict(settings)
    if "batch_size" in overrides and "batch_tokens" in settings:
        merged["batch_tokens"] = None
    for name, above in overrides.items():
        below = merged.get(name)
        if isinstance(below, Mapping) and isinstance(above, Mapping) and _same_kind(below, above):
            merged[name] = laid_over(below, above)
        else:
            merged[name] = above
    return merged


def _same_kind(below: Mapping[str, Any], above: Mapping[str, Any]) -> bool:
    return bool(above.get("kind", below.get("kind")) == below.get("kind"))
