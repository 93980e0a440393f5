"""Keeps at most so many rationales per example, so that easy examples do not crowd out hard ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import TypeVar

K = TypeVar("K")
E = TypeVar("E", bound=Hashable)


def cap_per_example(rows: Iterable[tuple[K, E]], n: int) -> list[K]:
    """Return the keys to drop from (key, example) pairs: the first `n` of each example stay (10 in ReST-EM).

    Raises ValueError for n < 1.
    """
    if n < 1:
        raise ValueError(f"at most {n} rationales per example would keep none; use 1 or more, or no cap")
    kept: Counter[E] = Counter()
    dropped = []
    for key, example in rows:
        if kept[example] == n:
            dropped.append(key)
        else:
            kept[example] += 1
    return dropped
