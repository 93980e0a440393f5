"""Finds questions that stand on both sides of a split: equal ones, and alike ones by n-grams of words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from star_engine.tasks.examples import Asked, Example, PromptSet, folded

NGRAM = (
    8  # words: phrases of a language repeat at 4 or 5; at 13, as for web pages, most questions are too short
)
SHARE = 0.5  # of a question's n-grams that stand in others, from which on it counts as seen
_WORD = re.compile(r"\w+")
_ASCII_WORDS = bytes(  # of a byte: a letter in lower case, and a space for what is in no word
    ord(chr(byte).lower()) if re.match(r"\w", chr(byte), re.ASCII) else 32 for byte in range(256)
)


AskedFor = tuple[str, frozenset[str]]  # a question, and the choices that make it another one


def asked_for(example: Asked) -> AskedFor:
    """Return what is equal for two examples that ask the same, ignoring case and white space."""
    return folded(example.whole_question), frozenset(map(folded, example.choices or ()))


def trained_on(held_out: Iterable[Example], train: Iterable[Example]) -> Iterator[tuple[Example, Example]]:
    """Yield held-out examples whose question is trained on, each with the first example that asks it.

    Memory holds the held-out examples; those to train on are streamed.
    """
    waiting: dict[AskedFor, list[Example]] = {}
    for example in held_out:
        waiting.setdefault(asked_for(example), []).append(example)
    for example in train if waiting else ():
        for found in waiting.pop(asked_for(example), ()):
            yield found, example


def without_few_shot(prompt_set: PromptSet, held_out: Sequence[Example]) -> list[Example]:
    """Leave out held-out examples that the prompt set works out: their answers were chosen by a person."""
    shown = {asked_for(one) for one in prompt_set.examples}
    return [example for example in held_out if asked_for(example) not in shown]


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
