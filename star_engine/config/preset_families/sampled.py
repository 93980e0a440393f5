"""Many tries of a question, of which the right ones are learned; and jobs that steer their own sampling."""

from __future__ import annotations

from star_engine.config.controller import Controller
from star_engine.config.evaluation import Evaluation, TestTime
from star_engine.config.preset_families.paper_steps import paper_training
from star_engine.config.schedules import EpochsSchedule, FixedSchedule, GeometricSchedule
from star_engine.config.selection import Selection, SelectionOrder
from star_engine.config.star import Generation, Rationalization, StarConfig, Training
from star_engine.config.training_set import TrainingSetOptions
from star_engine.tasks.kind import Kind


def rft(kind: Kind) -> StarConfig:
    """Rejection sampling fine-tuning (Yuan et al. 2023, arXiv 2308.01825): one round of 100 tries at T = 0.7.

    Three epochs, as there. Duplicates go. Unlike there, the human rationales are not mixed in and duplicates
    are found by text.
    """
    return StarConfig(
        kind=kind,
        iterations=1,
        training=paper_training(EpochsSchedule(epochs=3)),
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
        training=paper_training(EpochsSchedule(epochs=3)),
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
        training=paper_training(EpochsSchedule(epochs=3)),
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
    200 probes. Its large gains are with a process reward model; with checked answers alone it tunes the
    temperature, and promises no more than the best fixed one.
    """
    return StarConfig(
        kind=kind,
        iterations=4,
        controller=Controller(),
        generation=Generation(temperature=0.7, samples_per_example=16),
        rationalization=Rationalization(enabled=False),
        training_set=TrainingSetOptions(max_per_example=8),
        training=Training(
            start_from="previous",
            optimizer="carry",
            schedule=FixedSchedule(steps=100),
            batch_size=32,
            warmup_steps=10,
        ),
    )
