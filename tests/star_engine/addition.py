"""Additions for the tests: examples per digit count, and a prompt set with a group for each."""

from __future__ import annotations

import random
from collections.abc import Sequence

from star_engine.tasks.examples import Example, FewShotExample, PromptSet
from star_engine.tasks.kind import Kind
from star_engine.testing.fakes import addition_scratchpad


def _spaced(number: int) -> str:
    return " ".join(str(number))


def _numbers(digits: int, count: int, seed: int) -> list[tuple[int, int]]:
    drawn = random.Random(seed)
    low, high = 10 ** (digits - 1), 10**digits - 1
    pairs: dict[tuple[int, int], None] = {}
    while len(pairs) < count:
        pairs[drawn.randint(low, high), drawn.randint(low, high)] = None
    return list(pairs)


def additions(digits: Sequence[int], each: int, seed: int = 0) -> list[Example]:
    """`each` examples of every digit count, without repeats."""
    return [
        Example(f"{a}+{b}", f"{_spaced(a)} + {_spaced(b)}", _spaced(a + b), group=str(count))
        for count in digits
        for a, b in _numbers(count, each, seed)
    ]


def _few_shot(a: int, b: int) -> FewShotExample:
    rationale = addition_scratchpad([int(d) for d in str(a)], [int(d) for d in str(b)])
    return FewShotExample(f"{_spaced(a)} + {_spaced(b)}", rationale, _spaced(a + b), group=str(len(str(a))))


ADDITION = PromptSet(
    Kind.SCRATCHPAD,
    tuple(_few_shot(a, b) for count in (1, 2, 3, 4) for a, b in _numbers(count, 3, seed=99)),
)
