"""The loss of a frozen output layer a few rows at a time, so that the logits of a step never exist at once.

float32 logits, their logarithms and two gradients take 16 bytes for each learned token and word of the
vocabulary: 22 GB for 9,000 tokens and 152,000 words. The layer has no gradient of its own, so the gradient of
what goes into it is made on the way there, and nothing else has to be kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from star_engine.gpu.causal_lm import logits_at

ROWS = 1024  # at once: 0.6 GB of float32 logits for 152,000 words


class _SummedLoss(torch.autograd.Function):
    """Summed cross-entropy of hidden (n, width) under weight (words, width) with targets (n,)."""

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, rows: int
    ) -> torch.Tensor:
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        gradient = torch.empty_like(hidden)
        pieces = (torch.split(one, rows) for one in (hidden, targets, gradient))
        parts = zip(*pieces, strict=True)
        for part, wanted, into in parts:
            scores = (part @ weight.t()).float()
            whole = scores.logsumexp(-1, keepdim=True)
            total += (whole - scores.gather(1, wanted[:, None])).sum()
            chances = scores.sub_(whole).exp_()
            chances[torch.arange(len(wanted), device=hidden.device), wanted] -= 1
            torch.mm(chances.to(weight.dtype), weight, out=into)
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return ctx.saved_tensors[0] * gradients[0].to(ctx.saved_tensors[0].dtype), None, None, None


def summed_loss(
    hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, rows: int = ROWS
) -> torch.Tensor:
    """Return the summed cross-entropy, in float32. hidden: (n, width); weight: (words, width), frozen."""
    loss: torch.Tensor = _SummedLoss.apply(hidden, weight, targets, rows)  # type: ignore[no-untyped-call]
    return loss


@contextmanager
def hidden_at(model: Any, rows: torch.Tensor, columns: torch.Tensor) -> Iterator[None]:
    """Inside, the model's forward returns as logits what goes into its output layer at these positions."""
    head = model.get_output_embeddings()
    head.forward = _unchanged
    try:
        with logits_at(model, rows, columns):
            yield
    finally:
        del head.forward


@torch.no_grad()
def plain_head(model: Any) -> torch.Tensor | None:
    """The weight of the output layer, where the logits are its product with the hidden states and no more.

    None for soft caps, scaled logits, a bias or an adapter on it: a token is tried both ways.
    """
    head = model.get_output_embeddings()
    if type(head) is not torch.nn.Linear or head.bias is not None or head.weight.requires_grad:
        return None
    ids = torch.ones((1, 2), dtype=torch.long, device=head.weight.device)
    place = ids.new_zeros(1), ids.new_ones(1)
    with logits_at(model, *place):
        wanted = model(input_ids=ids, use_cache=False).logits
    with hidden_at(model, *place):
        found = model(input_ids=ids, use_cache=False).logits @ head.weight.t()
    largest = wanted.abs().max()
    return head.weight if bool((found - wanted).abs().max() <= 0.01 * largest) else None


def _unchanged(hidden: torch.Tensor) -> torch.Tensor:
    return hidden
