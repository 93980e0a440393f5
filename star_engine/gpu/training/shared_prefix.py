"""Tokens that several rows of a batch begin with: run through the model once, with the gradients of all rows.

Where the few-shot examples are part of the training text (section 4.4, `training_set.few_shot_in_prompt`),
nearly every row begins with the same hundreds of tokens. Under a causal mask, what a model computes for a
token does not depend on what follows it: the prefix's keys and values serve every row, and their gradient is
the sum over the rows. Exact, but for the order of summation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from star_engine.gpu.causal_lm import logits_at
from star_engine.gpu.training.tokenized_rows import TokenizedRow


def can_share(config: Any) -> bool:
    """Whether every layer remembers the whole prefix: not sliding windows, not recurrent states."""
    layers = DynamicCache(config=config).layers
    return bool(layers) and all(type(layer) is DynamicLayer for layer in layers)


class SharedPrefix:
    """The first `length` tokens of some rows, which share one token more. Holds their activations."""

    def __init__(self, model: Any, rows: Sequence[TokenizedRow], length: int, device: torch.device) -> None:
        causal = model.get_base_model()
        if getattr(causal, "is_gradient_checkpointing", False) and causal.training:
            # transformers would drop the prefix's keys and values, with a warning
            raise RuntimeError("Gradient checkpointing and a shared prefix exclude each other.")
        ids = torch.tensor([rows[0].ids[: length + 1]], device=device)
        learned_by = [sum(row.learns(at) for row in rows) for at in range(1, length + 1)]
        counts = torch.tensor(learned_by, device=device)
        places = counts.nonzero().flatten()  # of the tokens that predict one that counts
        cache = DynamicCache(config=causal.config)
        with logits_at(causal, torch.zeros_like(places), places):
            logits = model(input_ids=ids[:, :length], past_key_values=cache, use_cache=True).logits
        losses = cross_entropy(logits.squeeze(0).float(), ids[0, places + 1], reduction="none")
        self.length = length
        self._learned = bool(places.numel())
        self.loss = losses @ counts[places].float()  # summed over the rows
        self._config = causal.config
        self._states = [(layer.keys, layer.values) for layer in cache.layers]
        # The rows' gradients gather here: their parts run one after another, the prefix's way back once.
        self._leaves = [(_leaf(key), _leaf(value)) for key, value in self._states]

    def cache(self, rows: int) -> Any:
        """What the model is given as `past_key_values` for so many rows behind the prefix."""
        cache = DynamicCache(config=self._config)
        for layer, (key, value) in zip(cache.layers, self._leaves, strict=True):
            layer.lazy_initialization(key, value)
            layer.keys, layer.values = key.expand(rows, -1, -1, -1), value.expand(rows, -1, -1, -1)
        return cache

    def backward(self, count: float) -> None:
        """Compute gradients of the prefix's own loss, divided by `count`, and of everything
        computed after it.
        """
        ends: list[tuple[torch.Tensor, torch.Tensor | None]] = [
            (state, leaf.grad)
            for states, leaves in zip(self._states, self._leaves, strict=True)
            for state, leaf in zip(states, leaves, strict=True)
            if state.requires_grad and leaf.grad is not None
        ]
        if self._learned:
            ends.append((self.loss / count, None))
        if ends:
            torch.autograd.backward([end for end, _ in ends], [gradient for _, gradient in ends])


def _leaf(state: torch.Tensor) -> torch.Tensor:
    return state.detach().requires_grad_(state.requires_grad)
