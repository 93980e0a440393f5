"""What learns from wrong tries, too: from pairs, by a verifier, or from a teacher."""

from __future__ import annotations

from star_engine.config.distillation import SelfDistillation
from star_engine.config.evaluation import Evaluation, TestTime
from star_engine.config.pairs import BestOfKStop, PreferenceTraining, TrainedVerifier
from star_engine.config.preset_families.paper_steps import paper_training
from star_engine.config.schedules import EpochsSchedule
from star_engine.config.star import Generation, Rationalization, StarConfig, Training
from star_engine.config.training_set import TrainingSetOptions
from star_engine.tasks.kind import Kind


def v_star(kind: Kind) -> StarConfig:
    """V-STaR (Hosseini et al. 2024, arXiv 2402.06457): the wrong tries train a verifier, which ranks answers.

    3 iterations of 16 tries, each from the base model on the right answers of all so far; at the end a
    verifier by DPO on right against wrong ones, ranked by likelihood. Without rationalization, which the
    authors found to add false positives. Temperature, rate, beta and pairs a question are not in the paper:
    0.7, 1e-4, 0.1 and 8 are ours, as is the base model for the reference where the paper has one tuned on
    solutions (`trained_verifier.reference: first_iteration` comes closest). Its training ends by best of 16
    on held-out train questions, which pair accuracy does not stand for. At the beginning and at the end
    64 answers to each held-out question, ranked by the verifier, and by what it has to beat.
    """
    return StarConfig(
        kind=kind,
        iterations=3,
        training=paper_training(EpochsSchedule(epochs=2)),
        generation=Generation(temperature=0.7, samples_per_example=16),
        rationalization=Rationalization(enabled=False),
        training_set=TrainingSetOptions(window="all"),
        trained_verifier=TrainedVerifier(stop=BestOfKStop()),
        evaluation=Evaluation(test_time=TestTime(samples=64, scorer="verifier")),
    )


def iterative_rpo(kind: Kind) -> StarConfig:
    """Iterative RPO (Pang et al. 2024, arXiv 2404.19733): the generator learns right against wrong tries.

    4 iterations of 30 tries; at most 10 pairs of each question by DPO (beta 0.1) with the right text's own
    likelihood added (weight 1), each from the iteration before, which is the reference too. Temperature,
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
