"""Tries with a teacher as tokens, and the divergence of the two at each token (OPSD, arXiv 2601.18734)."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from star_engine.gpu.training.tokenized_rows import TokenizedRow, tokenize_rows
from star_engine.protocols import Distillation, DistilledText

LEAST = 1e-9  # probability of all tokens that are not among the teacher's top k, so that it has a logarithm


@dataclass(frozen=True, slots=True)
class TaughtRow:
    """One completion behind two prompts; what is learned of it are the same tokens in both."""

    student: TokenizedRow
    teacher: TokenizedRow

    @property
    def length(self) -> int:
        """Tokens of both."""
        return len(self.student.ids) + len(self.teacher.ids)

    @property
    def longest(self) -> int:
        """Tokens of the one that is longer."""
        return max(len(self.student.ids), len(self.teacher.ids))


def fitting_taught(
    tokenizer: Any, texts: Sequence[DistilledText], max_length: int, eos: int
) -> list[TaughtRow]:
    """Tokenize tries with their teachers' prompts; ValueError where none can be learned.

    Left out is what is longer than `max_length`, and what the tokenizer reads otherwise behind the other
    prompt. The end of a try is not learned: behind few-shot examples the base model goes on instead.
    """
    names = [f"{side} text of try {n}" for n in range(len(texts)) for side in ("Student", "Teacher")]
    both = [text for one in texts for text in (one.student, one.teacher)]
    rows = tokenize_rows(tokenizer, both, sys.maxsize, eos, names=names)
    found = [
        TaughtRow(_without_end(student), _without_end(teacher))
        for student, teacher in zip(rows[::2], rows[1::2], strict=True)
        if max(len(student.ids), len(teacher.ids)) <= max_length
        and student.ids[student.start :] == teacher.ids[teacher.start :]
    ]
    if not found:
        raise ValueError(
            f"None of {len(texts)} tries fits training.max_length = {max_length} behind its teacher's prompt."
        )
    return found


def _without_end(row: TokenizedRow) -> TokenizedRow:
    return replace(row, masked=row.masked | {len(row.ids) - 1})


def divergence(student: torch.Tensor, teacher: torch.Tensor, how: Distillation) -> torch.Tensor:
    """The divergence at each token in nats, (tokens,), from logits of shape (tokens, vocabulary)."""
    wanted = (teacher / how.temperature).log_softmax(-1)
    found = (student / how.temperature).log_softmax(-1)
    if 0 < how.top_k < wanted.shape[-1]:
        top = wanted.topk(how.top_k, dim=-1).indices
        wanted, found = _with_rest(wanted.gather(-1, top)), _with_rest(found.gather(-1, top))
    if how.beta == 0:
        loss = _kl(wanted, found)
    elif how.beta == 1:
        loss = _kl(found, wanted)
    else:
        mixed = torch.logaddexp(wanted + math.log(how.beta), found + math.log(1 - how.beta))
        loss = how.beta * _kl(wanted, mixed) + (1 - how.beta) * _kl(found, mixed)
    return loss if how.clip is None else loss.clamp(max=how.clip)


def _with_rest(logprobs: torch.Tensor) -> torch.Tensor:
    rest = (1 - logprobs.exp().sum(-1, keepdim=True)).clamp(min=LEAST).log()
    return torch.cat([logprobs, rest], dim=-1)


def _kl(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return (one.exp() * (one - other)).sum(-1)
