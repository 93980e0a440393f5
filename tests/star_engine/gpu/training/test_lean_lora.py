"""The lean LoRA layer computes what PEFT's does, also with a float32 adapter on a bfloat16 base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from transformers import LlamaForCausalLM

from star_engine.gpu.training.lean_lora import use_lean_forward

IDS = torch.randint(2, 40, (4, 24), generator=torch.Generator().manual_seed(0))


def learned(tiny_model: Path, dtype: torch.dtype, *, lean: bool) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss of some tokens and the gradients of the adapter's weights, which are float32 and not zero."""
    base: Any = LlamaForCausalLM.from_pretrained(tiny_model, dtype=dtype).requires_grad_(False)
    torch.manual_seed(1)
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear", init_lora_weights=False)
    model: Any = peft.get_peft_model(base, config)
    for weight in model.parameters():
        if weight.requires_grad:  # drawn in the base model's precision otherwise
            weight.data = (0.05 * torch.randn(weight.shape)).float()
    if lean:
        use_lean_forward(model)
    loss = model(input_ids=IDS, labels=IDS).loss
    loss.backward()
    found = {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}
    assert all(gradient.dtype == torch.float32 for gradient in found.values())
    return loss.item(), found


def likeness(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """The cosine between all gradients of two models."""
    a, b = (torch.cat([part.flatten() for part in each.values()]) for each in (one, other))
    return torch.nn.functional.cosine_similarity(a, b, dim=0).item()


def test_in_float32_it_computes_what_peft_computes(tiny_model: Path) -> None:
    loss, gradients = learned(tiny_model, torch.float32, lean=True)
    expected, of_peft = learned(tiny_model, torch.float32, lean=False)
    assert loss == pytest.approx(expected, rel=1e-6)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, of_peft[name], rtol=1e-4, atol=1e-6)


def test_under_bfloat16_it_is_as_near_to_float32_as_peft_is(tiny_model: Path) -> None:
    exact, gradients = learned(tiny_model, torch.float32, lean=True)
    loss, rounded = learned(tiny_model, torch.bfloat16, lean=True)
    _, of_peft = learned(tiny_model, torch.bfloat16, lean=False)
    assert loss == pytest.approx(exact, rel=0.01)
    assert likeness(rounded, gradients) > 0.995
    assert likeness(rounded, gradients) > likeness(of_peft, gradients) - 0.001


def test_no_layer_of_a_bfloat16_base_keeps_the_slow_way(tiny_model: Path) -> None:
    base: Any = LlamaForCausalLM.from_pretrained(tiny_model, dtype=torch.bfloat16).requires_grad_(False)
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear")
    model: Any = peft.get_peft_model(base, config)
    use_lean_forward(model)
    layers = [layer for layer in model.modules() if isinstance(layer, peft.tuners.lora.Linear)]
    assert layers
    assert all("_forward" in repr(layer.forward) for layer in layers)
