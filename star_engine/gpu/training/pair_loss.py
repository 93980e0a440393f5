"""Preference pairs as tokens, and the loss of one: DPO (arXiv 2305.18290) and iterative RPO (2404.19733)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import logsigmoid

from star_engine.gpu.training.tokenized_rows import TokenizedRow, tokenize_rows
from star_engine.protocols import Preference, PreferencePair


@dataclass(frozen=True, slots=True)
class TokenizedPair:
    """Two completions of one prompt, and how likely the reference model finds each."""

    chosen: TokenizedRow
    rejected: TokenizedRow
    reference_chosen: float
    reference_rejected: float
    weight: float

    @property
    def rows(self) -> tuple[TokenizedRow, TokenizedRow]:
        return self.chosen, self.rejected

    @property
    def longest(self) -> int:
        """Tokens of its longer text."""
        return max(len(row.ids) for row in self.rows)

    @property
    def length(self) -> int:
        """Tokens of both."""
        return len(self.chosen.ids) + len(self.rejected.ids)


@dataclass(frozen=True, slots=True)
class PairSums:
    """Sums over the pairs of a batch, each already divided by their number."""

    loss: torch.Tensor
    margin: float  # how much more the policy prefers the chosen text than the reference does
    right: float  # share of the pairs with a margin above zero


def fitting_pairs(
    tokenizer: Any, pairs: Sequence[PreferencePair], max_length: int, eos: int
) -> list[TokenizedPair]:
    """Tokenize pairs, without those of which a side is longer than `max_length`. ValueError if all are."""
    names = [f"{side} text of pair {n}" for n in range(len(pairs)) for side in ("Chosen", "Rejected")]
    texts = [text for pair in pairs for text in (pair.chosen, pair.rejected)]
    rows = tokenize_rows(tokenizer, texts, sys.maxsize, eos, names=names)
    found = [
        TokenizedPair(chosen, rejected, pair.reference_chosen, pair.reference_rejected, pair.weight)
        for pair, chosen, rejected in zip(pairs, rows[::2], rows[1::2], strict=True)
        if max(len(chosen.ids), len(rejected.ids)) <= max_length
    ]
    if not found:
        raise ValueError(
            f"All {len(pairs)} pairs have a text of more than training.max_length = {max_length} tokens. "
            "Raise it, or shorten the prompts."
        )
    return found


def summed_pairs(
    pairs: Sequence[TokenizedPair], logprobs: torch.Tensor, preference: Preference, count: float
) -> PairSums:
    """The loss of these pairs, of `count` in the whole batch. logprobs: of the rows, chosen before rejected.

    A pair's loss is -log sigmoid(beta * margin) + nll * -log p(chosen) / tokens of the chosen text. The
    margin is log p(chosen) - log p(rejected), less the same under the reference. Sums are over the tokens
    that training learns, EOS among them, so that with the reference's own weights the margin is zero.
    """
    device = logprobs.device
    chosen, rejected = logprobs[0::2], logprobs[1::2]
    before = torch.tensor([p.reference_chosen - p.reference_rejected for p in pairs], device=device)
    weights = torch.tensor([p.weight for p in pairs], device=device)
    margins = chosen - rejected - before
    losses = -logsigmoid(preference.beta * margins)
    if preference.nll:
        tokens = torch.tensor([p.chosen.loss_tokens for p in pairs], device=device)
        losses = losses - preference.nll * chosen / tokens
    right = (margins.detach() > 0).float().sum().item() / count
    return PairSums((weights * losses).sum() / count, margins.detach().sum().item() / count, right)
