"""How much of one question stands in others: by n-grams of words, case and punctuation aside."""

from __future__ import annotations

import re
from collections.abc import Iterable

NGRAM = (
    8  # words: phrases of a language repeat at 4 or 5; at 13, as for web pages, most questions are too short
)
SHARE = 0.5  # of a question's n-grams that stand in others, from which on it counts as seen
_WORD = re.compile(r"\w+")


def ngram_hashes(text: str) -> set[int]:
    """Hashes of a text's n-grams, good within this process. Empty for a text of fewer words."""
    words = _WORD.findall(text.casefold())
    return set(map(hash, zip(*(words[start:] for start in range(NGRAM)), strict=False)))


def seen_hashes(asked: set[int], others: Iterable[str]) -> set[int]:
    """Which of these n-grams stand in any of the other texts. Streams: holds one of them at a time."""
    seen: set[int] = set()
    for text in others:
        seen |= ngram_hashes(text) & asked
    return seen


def share_seen(text: str, seen: set[int]) -> float | None:
    """The share of a text's n-grams that were seen; None for a text too short to have any."""
    own = ngram_hashes(text)
    return len(own & seen) / len(own) if own else None
