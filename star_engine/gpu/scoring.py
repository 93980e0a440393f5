"""The tokens whose log-probabilities a scorer is asked for: those that training on the text would learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from star_engine.gpu.training.tokenized_rows import tokenize_rows
from star_engine.protocols import ScoreRequest

UNLIMITED = 2**31  # tokens: what fits a scorer is said in its own words


@dataclass(frozen=True, slots=True, eq=False)
class ScoredText:
    """One text as tokens."""

    key: str
    ids: NDArray[np.int64]  # of its prompt
    tokens: tuple[int, ...]  # of all of it
    scored: tuple[int, ...]  # indices of the tokens that are asked for; none is the first

    @property
    def length(self) -> int:
        return len(self.tokens) - 1  # nothing is asked behind the last one

    @property
    def logits(self) -> int:
        return len(self.scored)


def tokenize_texts(
    tokenizer: Any, requests: Sequence[ScoreRequest], eos: int, max_length: int
) -> list[ScoredText]:
    """Raises ValueError, naming the key, for a text that cannot be trained on or does not fit the model."""
    if not requests:
        return []
    rows = tokenize_rows(
        tokenizer,
        [request.text for request in requests],
        UNLIMITED,
        eos,
        names=[f"Text {request.key}" for request in requests],
    )
    texts = []
    for request, row in zip(requests, rows, strict=True):
        tokens = row.ids if request.eos else row.ids[:-1]
        if len(tokens) >= max_length:
            raise ValueError(
                f"Text {request.key} has {len(tokens)} tokens; 2 to {max_length - 1} fit the model."
            )
        scored = tuple(at for at in range(row.start, len(tokens)) if row.learns(at))
        texts.append(ScoredText(request.key, np.array(tokens[: row.start]), tokens, scored))
    return texts
