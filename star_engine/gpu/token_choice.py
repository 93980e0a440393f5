"""Chooses the next token from logits: greedily, or sampled with one uniform number per row."""

from __future__ import annotations

import torch

from star_engine.protocols import SamplingParams


def choose(logits: torch.Tensor, params: SamplingParams, draws: torch.Tensor | None) -> torch.Tensor:
    """Token ids (rows,) from logits (rows, vocabulary); draws (rows,) in [0, 1) with temperature only.

    Inverse transform: the first token, likeliest first, at which the cumulated probability passes the draw.
    One draw a token keeps a row's tokens independent of the rows that it runs beside.
    """
    if params.temperature == 0:
        return logits.argmax(-1)
    if draws is None:
        raise ValueError("Sampling with a temperature needs a draw for every row.")
    wide = logits.double() / params.temperature
    keep = min(params.top_k or wide.shape[-1], wide.shape[-1])
    if keep < wide.shape[-1]:
        scores, order = wide.topk(keep, dim=-1)
    else:
        scores, order = wide.sort(dim=-1, descending=True, stable=True)
    cumulated = scores.softmax(-1).cumsum(-1)
    # The nucleus: every token before which less than top_p has been seen; always at least one.
    inside = torch.cat([torch.zeros_like(cumulated[:, :1]), cumulated[:, :-1]], dim=-1) < params.top_p
    last = inside.sum(-1, keepdim=True) - 1
    total = cumulated.gather(-1, last)
    rank = torch.searchsorted(cumulated, draws.unsqueeze(-1) * total, right=True)
    return order.gather(-1, torch.minimum(rank, last)).squeeze(-1)
