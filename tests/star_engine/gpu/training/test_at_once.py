"""What a step keeps in memory for its way back: the estimate against what PyTorch keeps."""

from __future__ import annotations

from typing import Any

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, Qwen2Config

from star_engine.gpu.training.at_once import (
    USED_SHARE,
    bytes_per_token,
    layers_to_checkpoint,
    tokens_that_fit,
)
from star_engine.gpu.training.checkpointing import start_checkpointing
from star_engine.gpu.training.lean_lora import use_lean_forward

GIB = 2**30
TOKENS = 200
MODEL: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 256,
    "intermediate_size": 1024,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
QWEN_7B = Qwen2Config(
    hidden_size=3584,
    intermediate_size=18944,
    num_hidden_layers=28,
    num_attention_heads=28,
    num_key_value_heads=4,
)


def kept_bytes(config: Any, dtype: torch.dtype, checkpointed: int = 0) -> int:
    """What the layers of a model under a lean adapter keep for TOKENS tokens, weights and logits apart."""
    base = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")
    lora = peft.LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear")
    model = peft.get_peft_model(base.requires_grad_(False), lora).eval()
    use_lean_forward(model)
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, int] = {}
    alive: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights and tensor.shape[-2:].numel() >= TOKENS:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    def note_input(_: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        keep(inputs[0])

    if checkpointed:
        assert start_checkpointing(base, checkpointed)
        for layer in base.model.layers[:checkpointed]:  # what it is given is kept by the checkpoint itself
            layer.register_forward_pre_hook(note_input)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.get_base_model().model(input_ids=torch.arange(TOKENS)[None] % 90, use_cache=False)
    return sum(kept.values())


@pytest.mark.parametrize("family", [LlamaConfig, Qwen2Config])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_estimate_is_what_layers_keep_for_their_way_back(family: Any, dtype: torch.dtype) -> None:
    config = family(**MODEL)
    estimate = bytes_per_token(config, dtype.itemsize)
    assert estimate is not None
    assert kept_bytes(config, dtype) / TOKENS == pytest.approx(estimate, rel=0.2)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_each_checkpointed_layer_keeps_its_input_alone(count: int) -> None:
    config = LlamaConfig(**MODEL)
    whole = bytes_per_token(config, 4)
    assert whole is not None
    expected = whole - count * (whole / 4 - 4 * config.hidden_size)
    last_norm = 4 * config.hidden_size
    assert kept_bytes(config, torch.float32, count) / TOKENS == pytest.approx(expected + last_norm, rel=0.2)
    free = int(TOKENS * expected / USED_SHARE) + 1
    assert layers_to_checkpoint(config, free, TOKENS, 4) == count
    assert layers_to_checkpoint(config, free - 2 * TOKENS, TOKENS, 4) == min(4, count + 1)


def test_as_few_layers_are_checkpointed_as_a_long_row_of_a_large_model_needs() -> None:
    """4,096 tokens of a 7B model keep 22.5 GiB."""
    assert layers_to_checkpoint(QWEN_7B, 22 * GIB, 4096) == 7
    assert layers_to_checkpoint(QWEN_7B, GIB, 4096) == 28
    assert layers_to_checkpoint(QWEN_7B, 80 * GIB, 4096) == 1, "it did not fit, whatever the estimate says"
    assert layers_to_checkpoint(GPT2Config(), GIB, 4096) is None


def test_a_first_part_of_a_large_model_fits_what_is_free() -> None:
    """A 7B model keeps 6 MB a token: not 16,384 of them beside vLLM on a card of 80 GB."""
    assert bytes_per_token(QWEN_7B, 2) == pytest.approx(6e6, rel=0.05)
    assert 2500 < tokens_that_fit(QWEN_7B, 22 * GIB, 16_384) < 3500
    assert tokens_that_fit(QWEN_7B, 130 * GIB, 16_384) == 16_384
    assert tokens_that_fit(QWEN_7B, GIB // 2, 16_384) == 512
    assert tokens_that_fit(GPT2Config(), GIB, 16_384) == 16_384, "of other layers nothing is said"
