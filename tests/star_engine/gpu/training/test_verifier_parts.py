"""A verifier of a tiny model, trained in parts: each goes on from the one before, and ranks texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from star_engine.adapters.layout import OPTIMIZER
from star_engine.config.pairs import TrainedVerifier
from star_engine.gpu.training.lora_trainer import LoraTrainer
from star_engine.gpu.transformers_sampler import TransformersSampler
from star_engine.phases.verifier_stop import Answer, Look, Looks, Parts, rank
from star_engine.protocols import Preference, PreferencePair, ScoreRequest, TrainingJob, TrainingText
from tests.star_engine.gpu.training.test_lora_trainer import sums
from tests.star_engine.gpu.training.test_pairs import TRAINING

STEPS = 15


def pairs_of(model: Path) -> list[PreferencePair]:
    right, other = sums(10), sums(10, seed=1)
    both = [
        (one, TrainingText(one.prompt, wrong.completion)) for one, wrong in zip(right, other, strict=True)
    ]
    texts = [text for two in both for text in two]
    scored = TransformersSampler(model, threads=1).score(
        [ScoreRequest(str(n), text) for n, text in enumerate(texts)]
    )
    said = {score.key: score.total for score in scored}
    return [PreferencePair(*two, said[str(2 * n)], said[str(2 * n + 1)]) for n, two in enumerate(both)]


def test_the_second_part_goes_on_from_the_first_and_ranks_the_right_texts_first(
    tiny_model: Path, tmp_path: Path
) -> None:
    pairs, trainer = pairs_of(tiny_model), LoraTrainer(tiny_model, threads=1)
    questions = {
        str(n): [Answer(one.chosen, True), Answer(one.rejected, False)] for n, one in enumerate(pairs)
    }
    parts, looks = Parts(tmp_path, "input"), Looks()
    before: Path | None = None
    training = TRAINING.model_copy(update={"optimizer": "carry"})
    margins = []
    for number in (1, 2):
        draft = parts.draft()
        moments = None if before is None else before / OPTIMIZER
        data = tuple(pairs)
        job = TrainingJob(
            data, training, STEPS, number, draft, tmp_path / "within", before, moments, Preference(beta=0.1)
        )
        progress = list(trainer.train(job))
        margins.append(progress[0].margin)
        shares = rank(trainer, draft, questions, TrainedVerifier(), 2)
        looks.found.append(Look(number * STEPS, *shares, progress[-1].tokens))
        before = parts.keep(draft, looks, before)
    assert margins[0] == pytest.approx(0.0, abs=1e-4)
    assert margins[1] is not None
    assert margins[1] > 0.01  # it begins where the first part has ended
    assert looks.found[-1].best_of_k == 1.0
    assert parts.newest() == (before, looks)
