"""`training.optimizer: carry` on a tiny model: a training goes on where the one before it ended."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from star_engine.adapters.layout import OPTIMIZER, WEIGHTS
from star_engine.config.lora import Lora
from star_engine.config.star import Training
from star_engine.gpu.training.lora_trainer import LoraTrainer
from star_engine.protocols import BadAdapter, TrainingJob, TrainingProgress, TrainingText

ROW = (TrainingText("Input: 12 + 30\nTarget:", " 12, 30, 42"),)  # one row: every batch is the same
CARRIED = Training(start_from="previous", optimizer="carry", batch_size=1, warmup_steps=8, learning_rate=1e-3)


@pytest.fixture(scope="module")
def trainer(tiny_model: Path) -> LoraTrainer:
    return LoraTrainer(tiny_model, threads=1)


def job(folder: Path, steps: int, before: Path | None = None, training: Training = CARRIED) -> TrainingJob:
    """A training in `folder`, after the one in the folder `before`."""
    start = None if before is None else before / "adapter"
    moments = None if start is None or training.optimizer == "fresh" else start / OPTIMIZER
    return TrainingJob(ROW, training, steps, 0, folder / "adapter", folder / "points", start, moments)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter" / WEIGHTS)


def test_two_carried_trainings_end_where_one_of_both_their_steps_does(
    trainer: LoraTrainer, tmp_path: Path
) -> None:
    whole = list(trainer.train(job(tmp_path / "whole", 10)))
    first = list(trainer.train(job(tmp_path / "first", 5)))
    second = list(trainer.train(job(tmp_path / "second", 5, tmp_path / "first")))
    rates = [one.learning_rate for one in (*first, *second)]
    assert rates == [one.learning_rate for one in whole]
    assert rates[4] < rates[5] < rates[9] == 1e-3
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "second")
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert int(load_file(tmp_path / "second/adapter" / OPTIMIZER)["steps"]) == 10


def test_a_fresh_optimizer_ends_elsewhere_and_leaves_no_state(trainer: LoraTrainer, tmp_path: Path) -> None:
    list(trainer.train(job(tmp_path / "first", 5)))
    list(trainer.train(job(tmp_path / "carried", 5, tmp_path / "first")))
    fresh = CARRIED.model_copy(update={"optimizer": "fresh"})
    list(trainer.train(job(tmp_path / "fresh", 5, tmp_path / "first", fresh)))
    one, other = weights(tmp_path / "carried"), weights(tmp_path / "fresh")
    assert any(not torch.equal(one[name], other[name]) for name in one)
    assert not (tmp_path / "fresh/adapter" / OPTIMIZER).exists()


def test_a_carried_training_that_was_killed_ends_in_the_same_bytes(
    trainer: LoraTrainer, tmp_path: Path
) -> None:
    training = CARRIED.model_copy(update={"checkpoint_every": 2, "lora": Lora(dropout=0.2)})
    list(trainer.train(job(tmp_path / "first", 3, training=training)))
    list(trainer.train(job(tmp_path / "whole", 7, tmp_path / "first", training)))
    stopped = trainer.train(job(tmp_path / "parts", 7, tmp_path / "first", training))
    seen = []
    for progress in stopped:
        seen.append(progress)
        if progress.step == 5:
            break
    stopped.close()  # type: ignore[attr-defined]
    assert not (tmp_path / "parts/adapter").exists()
    again: list[TrainingProgress] = list(
        trainer.train(job(tmp_path / "parts", 7, tmp_path / "first", training))
    )
    assert [one.step for one in again] == [5, 6, 7]
    for name in (WEIGHTS, OPTIMIZER):
        whole, parts = (tmp_path / run / "adapter" / name for run in ("whole", "parts"))
        assert whole.read_bytes() == parts.read_bytes(), name


def test_resume_points_of_other_moments_are_not_used(trainer: LoraTrainer, tmp_path: Path) -> None:
    training = CARRIED.model_copy(update={"checkpoint_every": 2})
    list(trainer.train(job(tmp_path / "first", 3, training=training)))
    list(trainer.train(job(tmp_path / "second", 5, tmp_path / "first", training)))
    shutil.copytree(tmp_path / "first", tmp_path / "other")
    moments = load_file(tmp_path / "first/adapter" / OPTIMIZER)
    save_file({**moments, "steps": moments["steps"] + 1}, tmp_path / "other/adapter" / OPTIMIZER)
    again = list(trainer.train(job(tmp_path / "second", 5, tmp_path / "other", training)))
    assert [one.step for one in again] == [1, 2, 3, 4, 5]


def test_moments_that_do_not_fit_are_refused(trainer: LoraTrainer, tmp_path: Path) -> None:
    list(trainer.train(job(tmp_path / "first", 1)))
    path = tmp_path / "first/adapter" / OPTIMIZER
    moments = load_file(path)
    name = next(one for one in moments if one.startswith("exp_avg."))
    save_file({**moments, name: moments[name][:1].clone()}, path)
    with pytest.raises(BadAdapter, match="does not fit"):
        list(trainer.train(job(tmp_path / "second", 1, tmp_path / "first")))
    path.write_bytes(b"cut off")
    with pytest.raises(BadAdapter, match=r"optimizer\.safetensors cannot be read"):
        list(trainer.train(job(tmp_path / "second", 1, tmp_path / "first")))


def test_moments_need_the_weights_that_they_are_of(tmp_path: Path) -> None:
    list_of_one = job(tmp_path, 1)
    with pytest.raises(ValueError, match="give `start` as well"):
        replace(list_of_one, moments=tmp_path / OPTIMIZER)
    with pytest.raises(ValueError, match="set start_from to previous"):
        Training(optimizer="carry")
