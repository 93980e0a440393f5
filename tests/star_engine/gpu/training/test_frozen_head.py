"""The loss of a frozen output layer in chunks, and of checkpointed layers, against the plain way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import Gemma2Config, Gemma2ForCausalLM, LlamaConfig, LlamaForCausalLM

from star_engine.config.lora import Lora
from star_engine.config.star import Training
from star_engine.gpu.training.checkpointing import checkpointed as how_many
from star_engine.gpu.training.checkpointing import start_checkpointing, stop_checkpointing
from star_engine.gpu.training.frozen_head import plain_head, summed_loss
from star_engine.gpu.training.lora_run import LoraRun, Ranks
from tests.star_engine.gpu.training.test_shared_prefix import ROWS, adapted

SMALL = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
}


@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_loss_and_gradient_in_chunks_are_those_of_all_logits_at_once(dtype: torch.dtype, near: float) -> None:
    torch.manual_seed(0)
    hidden = torch.randn(70, 32, dtype=dtype, requires_grad=True)
    weight, targets = torch.randn(100, 32, dtype=dtype), torch.randint(100, (70,))
    wanted = cross_entropy((hidden.float() @ weight.float().t()), targets, reduction="sum")
    wanted.backward()  # type: ignore[no-untyped-call]
    expected, hidden.grad = hidden.grad, None
    found = summed_loss(hidden, weight, targets, rows=16)
    (found * 3).backward()  # type: ignore[no-untyped-call]
    assert found.item() == pytest.approx(wanted.item(), rel=near)
    assert hidden.grad is not None
    assert expected is not None
    assert (hidden.grad.float() / 3 - expected.float()).norm() <= near * expected.float().norm()


def test_no_tensor_is_as_large_as_all_logits() -> None:
    """400 rows of 1,000 words: 1.6 MB of float32 logits, where chunks of 50 rows hold 0.2 MB."""
    hidden, weight = torch.randn(400, 8, requires_grad=True), torch.randn(1000, 8)
    targets = torch.randint(1000, (400,))

    def largest(work: Callable[[], torch.Tensor]) -> int:
        with torch.profiler.profile(profile_memory=True, record_shapes=True) as profile:
            work().backward()  # type: ignore[no-untyped-call]
        return max(int(event.cpu_memory_usage) for event in profile.events())

    chunked = largest(lambda: summed_loss(hidden, weight, targets, rows=50))
    whole = largest(lambda: cross_entropy(hidden @ weight.t(), targets, reduction="sum"))
    assert chunked < whole / 2


def step(model: Any, prepare: Callable[[LoraRun], None], limit: int = 4096) -> tuple[float, torch.Tensor]:
    """Loss of a step and all gradients, one after another."""
    training = Training(learning_rate=1e-30, max_grad_norm=1e9, lora=Lora(rank=4, alpha=8))
    run = LoraRun(model, training, 0, torch.device("cpu"), Ranks())
    prepare(run)
    loss = run.learn(ROWS, limit).loss
    return loss, torch.cat(
        [weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]
    )


def in_chunks(run: LoraRun) -> None:
    run.head = plain_head(run._model.get_base_model())
    assert run.head is not None


def checkpointed(run: LoraRun) -> None:
    assert run.checkpoint_layers()
    assert not run.checkpoint_layers()  # there is nothing more to be had


def the_first_layer(run: LoraRun) -> None:
    assert run.checkpoint_layers(1)
    assert not run.checkpoint_layers(1)
    assert how_many(run._model.get_base_model()) == 1


def one_after_the_other(run: LoraRun) -> None:
    the_first_layer(run)
    assert run.checkpoint_layers(2)
    assert how_many(run._model.get_base_model()) == 2


def both(run: LoraRun) -> None:
    in_chunks(run)
    checkpointed(run)


@pytest.mark.parametrize("prepare", [in_chunks, checkpointed, both, the_first_layer, one_after_the_other])
def test_a_step_is_the_same_in_chunks_and_checkpointed(
    tiny_model: Path, prepare: Callable[[LoraRun], None]
) -> None:
    """With the rows' shared prefix in the first case, and without in the others, which cannot have it."""
    wanted, expected = step(adapted(tiny_model), lambda _: None)
    model = adapted(tiny_model)
    loss, gradient = step(model, prepare)
    assert loss == pytest.approx(wanted, rel=1e-6)
    assert (gradient - expected).norm() <= 1e-5 * expected.norm()
    base = model.get_base_model()
    stop_checkpointing(base)
    assert not base.is_gradient_checkpointing
    assert not any(module.training for module in base.modules())


def test_a_head_that_does_more_than_its_product_is_left_alone() -> None:
    plain = LlamaForCausalLM(LlamaConfig(**SMALL)).requires_grad_(False).eval()
    assert plain_head(plain) is plain.lm_head.weight
    capped = Gemma2ForCausalLM(
        Gemma2Config(**SMALL, final_logit_softcapping=0.01, attn_implementation="eager")
    )
    assert plain_head(capped.requires_grad_(False).eval()) is None
    plain.get_parameter("lm_head.weight").requires_grad_(True)
    assert plain_head(plain) is None


def test_layers_with_dropout_of_their_own_are_not_checkpointed() -> None:
    """They are set to training for it, and would begin to drop."""
    model = LlamaForCausalLM(LlamaConfig(**SMALL, attention_dropout=0.1)).eval()
    assert not start_checkpointing(model)
