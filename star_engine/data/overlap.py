"""Measures the overlap of questions by n-grams of words, ignoring case and punctuation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

NGRAM = (
    8  # words: phrases of a language repeat at 4 or 5; at 13, as for web pages, most questions are too short
)
SHARE = 0.5  # of a question's n-grams that stand in others, from which on it counts as seen
_WORD = re.compile(r"\w+")
_ASCII_WORDS = bytes(  # of a byte: a letter in lower case, and a space for what is in no word
    ord(chr(byte).lower()) if re.match(r"\w", chr(byte), re.ASCII) else 32 for byte in range(256)
)


def ngram_hashes(text: str) -> set[int]:
    """Hashes of a text's n-grams, good within this process. Empty for a text of fewer words."""
    return set(_hashes(text))


def seen_hashes(asked: set[int], others: Iterable[str]) -> set[int]:
    """Which of these n-grams stand in any of the other texts. Streams: holds one of them at a time."""
    seen: set[int] = set()
    for text in others:
        seen |= asked.intersection(_hashes(text))
    return seen


def share_seen(text: str, seen: set[int]) -> float | None:
    """The share of a text's n-grams that were seen; None for a text too short to have any."""
    own = ngram_hashes(text)
    return len(own & seen) / len(own) if own else None


def _hashes(text: str) -> Iterator[int]:
    words = _words(text)
    return map(hash, zip(*(words[start:] for start in range(NGRAM)), strict=False))


def _words(text: str) -> list[str]:
    if not text.isascii():
        return _WORD.findall(text.casefold())
    # Four times as fast, and a million questions wait for it.
    return text.encode().translate(_ASCII_WORDS).decode().split()
