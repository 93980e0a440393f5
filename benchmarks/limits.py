"""What the hardware could do at best: a large matrix product, and an iteration's work in it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIZE = {"cpu": 1536, "cuda": 8192}
TIMES = 8


def gemm_flops(device: str) -> float:
    """Floating point operations a second of one large matrix product: the best of a few."""
    import torch

    size = SIZE[device]
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(TIMES):
        began = time.perf_counter()
        (left @ right).sum().item()  # waits for a GPU
        best = min(best, time.perf_counter() - began)
    return 2.0 * size**3 / best


@dataclass(frozen=True)
class Weights:
    """Parameters that one token is multiplied with: of all blocks, and of the output layer."""

    blocks: int
    head: int


def count_weights(model: Path) -> Weights:
    """From the model's config: a Llama-like decoder, whose matrices are all that counts."""
    config: dict[str, Any] = json.loads((model / "config.json").read_text())
    width, heads = config["hidden_size"], config["num_attention_heads"]
    of_head = config.get("head_dim") or width // heads
    attention = width * of_head * (2 * heads + 2 * config["num_key_value_heads"])
    layer = attention + 3 * width * config["intermediate_size"]
    return Weights(config["num_hidden_layers"] * layer, config["vocab_size"] * width)


def unshared_tokens(prompts: Iterable[Sequence[int]]) -> int:
    """Prompt tokens that a perfect prefix cache computes: each prefix once."""
    total = 0
    seen: dict[Any, Any] = {}
    for ids in prompts:
        node = seen
        for token in ids:
            total += token not in node
            node = node.setdefault(token, {})
    return total


def sampling_seconds(weights: Weights, flops: float, prefill: int, tries: int, generated: int) -> float:
    """The least time for so many computed prompt tokens, tries and generated tokens.

    Attention is left out (below 3 % at these lengths); weights are read often enough to be compute-bound.
    """
    both = weights.blocks + weights.head
    return (2 * weights.blocks * prefill + 2 * weights.head * tries + 2 * both * generated) / flops
