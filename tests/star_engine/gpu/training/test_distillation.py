"""The divergence from a teacher that sees more: nothing to learn where it sees the same, and the formula."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from star_engine.adapters.layout import WEIGHTS
from star_engine.gpu.training.distillation_loss import divergence
from star_engine.gpu.training.lora_trainer import LoraTrainer
from star_engine.protocols import Distillation, DistilledText, TrainingJob, TrainingProgress
from tests.star_engine.gpu.training.test_lora_trainer import sums
from tests.star_engine.gpu.training.test_pairs import SEED, STEPS, TRAINING


def texts(hint: str) -> tuple[DistilledText, ...]:
    return tuple(DistilledText(one, replace(one, prompt=hint + one.prompt)) for one in sums(8))


def job(data: tuple[DistilledText, ...], out: Path, how: Distillation) -> TrainingJob:
    places = (out / "adapter", out / "checkpoints")
    return TrainingJob(data, TRAINING, STEPS, SEED, *places, distillation=how)


def trained(
    model: Path, data: tuple[DistilledText, ...], out: Path, how: Distillation
) -> list[TrainingProgress]:
    return list(LoraTrainer(model, threads=1).train(job(data, out, how)))


def test_an_empty_hint_teaches_nothing(tiny_model: Path, tmp_path: Path) -> None:
    """Of the rounding that is left, Adam makes steps of the full rate; they stay small beside a hint's."""
    empty = trained(tiny_model, texts(""), tmp_path / "empty", Distillation())
    hinted = trained(tiny_model, texts("1+1=2 "), tmp_path / "hinted", Distillation())
    assert empty[0].loss == pytest.approx(0.0, abs=1e-6)
    assert empty[0].grad_norm == pytest.approx(0.0, abs=1e-5)
    assert max(one.loss for one in empty) < 0.1 * hinted[0].loss


@pytest.mark.parametrize("how", [Distillation(beta=0.0), Distillation(beta=0.5, top_k=4)])
def test_a_hint_is_learned_and_a_killed_training_ends_in_the_same_bytes(
    tiny_model: Path, tmp_path: Path, how: Distillation
) -> None:
    data = texts("1+1=2 ")
    whole = trained(tiny_model, data, tmp_path / "whole", how)
    assert 0 < whole[-1].loss < whole[0].loss
    killed = LoraTrainer(tiny_model, threads=1).train(job(data, tmp_path / "killed", how))
    for one in killed:
        if one.step == 3:
            break
    killed.close()  # type: ignore[attr-defined]
    rest = trained(tiny_model, data, tmp_path / "killed", how)
    assert rest[0].step == 3
    ends = {(tmp_path / name / "adapter" / WEIGHTS).read_bytes() for name in ("whole", "killed")}
    assert len(ends) == 1


def test_the_divergence_is_the_formulas() -> None:
    teacher, student = torch.randn(5, 7, dtype=torch.float64), torch.randn(5, 7, dtype=torch.float64)
    t, s = teacher.softmax(-1), student.softmax(-1)
    forward = (t * (t / s).log()).sum(-1)
    mixed = 0.3 * t + 0.7 * s
    between = 0.3 * (t * (t / mixed).log()).sum(-1) + 0.7 * (s * (s / mixed).log()).sum(-1)
    assert torch.allclose(divergence(student, teacher, Distillation(beta=0.0)), forward)
    assert torch.allclose(divergence(student, teacher, Distillation(beta=0.3)), between)
    reverse = divergence(student, teacher, Distillation(beta=1.0))
    assert torch.allclose(reverse, divergence(teacher, student, Distillation(beta=0.0)))
    coarse = divergence(student, teacher, Distillation(beta=0.0, top_k=3))
    assert bool((coarse <= forward + 1e-9).all())  # tokens that are told apart less diverge less
    assert float(divergence(student, teacher, Distillation(clip=0.01)).max()) <= 0.01
