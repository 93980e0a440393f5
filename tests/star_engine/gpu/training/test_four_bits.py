"""QLoRA: adapters trained over a base model in 4 bits, on a tiny model by bitsandbytes' CPU kernels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from transformers import LlamaForCausalLM

from star_engine.adapters.score_parity import judge_shifts
from star_engine.adapters.weight_files import held_bytes
from star_engine.config.lora import Lora
from star_engine.config.star import Training
from star_engine.gpu.training.four_bits import is_four_bit, load_in_four_bits, whole
from star_engine.gpu.training.lean_lora import adapter_off, use_lean_forward
from star_engine.gpu.training.lora_trainer import LoraTrainer
from star_engine.gpu.training.parallel_trainer import ParallelTrainer
from star_engine.gpu.transformers_sampler import TransformersSampler
from star_engine.protocols import Score, ScoreRequest, TrainingJob, TrainingText
from tests.star_engine.gpu.training.test_lora_trainer import WEIGHTS, sums, train

QLORA = Training(quantization="nf4", batch_size=4, learning_rate=3e-3, checkpoint_every=3, lora=Lora(rank=4))
IDS = torch.randint(2, 40, (4, 24), generator=torch.Generator().manual_seed(0))


def four_bits(tiny_model: Path) -> LoraTrainer:
    return LoraTrainer(tiny_model, threads=1, quantization="nf4")


def adapted(base: Any) -> Any:
    """Under an adapter that changes it."""
    torch.manual_seed(1)
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear", init_lora_weights=False)
    return peft.get_peft_model(base, config).eval()


@pytest.fixture(scope="module")
def trainer(tiny_model: Path) -> LoraTrainer:
    return four_bits(tiny_model)


def test_linear_layers_are_in_four_bits_and_nothing_else(tiny_model: Path) -> None:
    model = load_in_four_bits(tiny_model, dtype=torch.float32, device="cpu")
    packed = {name for name, layer in model.named_modules() if is_four_bit(layer)}
    assert {name.rpartition(".")[2] for name in packed} == {
        *(f"{name}_proj" for name in ("q", "k", "v", "o", "gate", "up", "down"))
    }
    others = [weight for name, weight in model.named_parameters() if name.rpartition(".")[0] not in packed]
    assert {weight.dtype for weight in others} == {torch.float32}
    taken = sum(model.get_submodule(name).weight.nbytes for name in packed)
    weights = sum(model.get_submodule(name).weight.quant_state.shape.numel() for name in packed)
    assert taken == weights / 2
    assert held_bytes(tiny_model, "nf4") == pytest.approx(
        0.516 * weights + 2 * sum(weight.numel() for weight in others), rel=0.01
    )


def test_a_lean_step_over_four_bits_is_the_one_that_peft_takes(tiny_model: Path) -> None:
    def learned(*, lean: bool) -> tuple[float, torch.Tensor]:
        model = adapted(load_in_four_bits(tiny_model, dtype=torch.float32, device="cpu"))
        if lean:
            use_lean_forward(model)
            assert sum("forward" in module.__dict__ for module in model.modules()) == 14
        loss = model(input_ids=IDS, labels=IDS).loss
        loss.backward()
        found = [weight.grad.flatten() for weight in model.parameters() if weight.requires_grad]
        return loss.item(), torch.cat(found)

    loss, gradient = learned(lean=True)
    expected, of_peft = learned(lean=False)
    assert loss == pytest.approx(expected, rel=1e-5)
    assert (gradient - of_peft).norm() <= 1e-4 * of_peft.norm()


def test_with_the_adapter_off_the_base_model_in_four_bits_answers(tiny_model: Path) -> None:
    """Where a teacher is asked for, as in self-distillation."""
    base = load_in_four_bits(tiny_model, dtype=torch.float32, device="cpu")
    with torch.no_grad():
        wanted = base(input_ids=IDS).logits
        model = adapted(base)
        use_lean_forward(model)
        moved = model(input_ids=IDS).logits
        with adapter_off(model):
            assert torch.equal(model(input_ids=IDS).logits, wanted)
    assert not torch.allclose(moved, wanted, atol=0.1)


def test_the_loss_falls_and_the_adapter_acts_on_the_base_model_as_it_is(
    trainer: LoraTrainer, tiny_model: Path, tmp_path: Path
) -> None:
    rows = sums(8)
    losses = [loss for _, loss in train(trainer, tmp_path, QLORA, 60, rows=rows)]
    assert losses[-1] < losses[0] / 2
    asked = [ScoreRequest(str(n), row) for n, row in enumerate(rows)]
    sampler = TransformersSampler(tiny_model)
    base = list(sampler.score(asked))
    sampler.use(tmp_path / "adapter")
    served = list(sampler.score(asked))
    trained = trainer.score_trained(tmp_path / "adapter", asked), trainer.score_trained(None, asked)
    judge_shifts(*trained, served, base)

    def loss(scores: Sequence[Score]) -> float:
        found = [-value for score in scores for value in score.logprobs]
        return sum(found) / len(found)

    assert loss(served) < loss(base) / 2
    plain = LlamaForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    peft.PeftModel.from_pretrained(plain, str(tmp_path / "adapter"))


def test_a_resumed_run_ends_in_the_same_bytes(tiny_model: Path, tmp_path: Path) -> None:
    whole_run = train(four_bits(tiny_model), tmp_path / "whole", QLORA, 8)
    first = train(four_bits(tiny_model), tmp_path / "parts", QLORA, 8, stop_after=5)
    second = train(four_bits(tiny_model), tmp_path / "parts", QLORA, 8)
    assert first[:3] + second == whole_run
    ours, theirs = (tmp_path / name / "adapter" / WEIGHTS for name in ("whole", "parts"))
    assert ours.read_bytes() == theirs.read_bytes()


def test_texts_that_are_written_and_scored_change_nothing_of_the_four_bits(
    tiny_model: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    """On some CPUs bitsandbytes changes the layout of weights and rounds their scales."""
    trainer = four_bits(tiny_model)
    layers = [layer for layer in trainer._base.modules() if is_four_bit(layer)]
    before = [whole(layer.weight, layer.weight.quant_state).clone() for layer in layers]
    trainer.probe(tiny_adapter, ["12+13"], 4)
    trainer.score_trained(None, [ScoreRequest("0", TrainingText("12+13", "25"))])
    train(trainer, tmp_path, QLORA, 2)
    after = [whole(layer.weight, layer.weight.quant_state) for layer in layers]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_a_resume_point_of_a_plain_base_model_is_not_used(tiny_model: Path, tmp_path: Path) -> None:
    plain = QLORA.model_copy(update={"quantization": None})
    train(LoraTrainer(tiny_model, threads=1), tmp_path, plain, 6, stop_after=5)
    assert train(four_bits(tiny_model), tmp_path, QLORA, 6)[0][0] == 1


def test_what_the_trainer_does_not_hold_is_refused(
    trainer: LoraTrainer, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"with quantization nf4; training\.quantization is null"):
        train(trainer, tmp_path, Training(), 1)
    with pytest.raises(ValueError, match="Set STAR_SHARDING=auto"):
        ParallelTrainer(tiny_model, ranks=2, sharded=True, quantization="nf4")
    monkeypatch.setattr("star_engine.gpu.training.four_bits.find_spec", lambda _: None)
    with pytest.raises(ValueError, match="install its extra `qlora`"):
        four_bits(tiny_model)


@pytest.mark.long  # every launch imports torch twice
def test_two_processes_learn_over_four_bits_what_one_does(tiny_model: Path, tmp_path: Path) -> None:
    def losses(trainer: LoraTrainer | ParallelTrainer, folder: Path) -> list[float]:
        job = TrainingJob(tuple(sums(20)), QLORA, 4, 0, folder / "adapter", folder / "checkpoints")
        return [one.loss for one in trainer.train(job)]

    two = ParallelTrainer(tiny_model, ranks=2, threads=2, quantization="nf4")
    assert losses(two, tmp_path / "two") == pytest.approx(
        losses(four_bits(tiny_model), tmp_path / "one"), rel=1e-4
    )
