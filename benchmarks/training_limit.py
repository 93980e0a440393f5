"""The hardware limit of training: its arithmetic at the speed of the model's own matrix products."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import linear

from star_engine.gpu.training.tokenized_rows import TokenizedRow

# Of the measured products: tokens that run at once. On a GPU a product of 1,024 rows may be shorter than its
# launch, and the limit would come out too low.
ROWS = {"cpu": 1024, "cuda": 8192}
LAUNCHES = 50  # of a product in a row, on a GPU, between two of its events


@dataclass(frozen=True)
class Limit:
    """FLOPs of one optimizer step on a frozen base model with a LoRA adapter.

    A token costs 2 FLOPs a weight on the way there and 2 on the way back (inputs only: the weights are
    frozen), attention 12 for each layer, column of the query and token that it sees, the adapter 6 a weight.
    The output layer is paid for where loss falls. Padding and what is computed twice do not count.
    """

    block_weights: int
    head_weights: int
    adapter_weights: int
    attention_width: int  # layers x query heads x head width

    @staticmethod
    def of(model: Any, rank: int) -> Limit:
        """`model`: transformers' own, without an adapter."""
        layers = blocks(model)
        config = model.config
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return Limit(
            block_weights=sum(n * out * into for (out, into), n in layers.items()),
            head_weights=model.get_output_embeddings().weight.numel(),
            adapter_weights=sum(n * rank * (out + into) for (out, into), n in layers.items()),
            attention_width=config.num_hidden_layers * config.num_attention_heads * width,
        )

    def flops(self, rows: Sequence[TokenizedRow], shared: int = 0) -> float:
        """`shared`: tokens at the start of every row that need to be computed once only."""
        total = 0.0
        for number, row in enumerate(rows):
            begin = shared if number else 0
            end = len(row.ids) - 1  # the last token predicts nothing
            seen = (begin + end) / 2  # a causal token sees half of them in the mean
            token = 4 * self.block_weights + 12 * self.attention_width * seen + 6 * self.adapter_weights
            total += (end - begin) * token + row.loss_tokens * 4 * self.head_weights
        return total


def blocks(model: Any) -> Counter[tuple[int, int]]:
    """How many linear layers of each shape (out, in) the model has, the output layer aside."""
    head = model.get_output_embeddings()
    found = (
        module for module in model.modules() if isinstance(module, torch.nn.Linear) and module is not head
    )
    return Counter((module.out_features, module.in_features) for module in found)


@torch.no_grad()
def measured_flops(model: Any, repeats: int = 3) -> float:
    """FLOPs a second of the model's own products, there and back, each as often as the model has it."""
    weight = next(model.parameters())
    rows = ROWS[weight.device.type]
    shapes = blocks(model)
    best: dict[tuple[int, int], float] = {}
    for out, into in shapes:
        x = torch.randn(rows, into, device=weight.device, dtype=weight.dtype)
        w = torch.randn(out, into, device=weight.device, dtype=weight.dtype)
        times = [_seconds(x, w) for _ in range(repeats + 1)]
        best[out, into] = min(times[1:])  # the first warms up
    flops = sum(4.0 * rows * out * into * n for (out, into), n in shapes.items())
    return flops / sum(best[shape] * n for shape, n in shapes.items())


def _seconds(x: torch.Tensor, weight: torch.Tensor) -> float:
    if x.device.type == "cuda":
        return _seconds_on_cuda(x, weight)
    began = time.perf_counter()
    linear(x, weight) @ weight
    return time.perf_counter() - began


def _seconds_on_cuda(x: torch.Tensor, weight: torch.Tensor) -> float:
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    first.record()
    for _ in range(LAUNCHES):
        linear(x, weight) @ weight
    last.record()
    last.synchronize()
    return float(first.elapsed_time(last)) / 1000 / LAUNCHES
