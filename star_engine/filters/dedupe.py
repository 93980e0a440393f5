"""Drops rationales that say the same as an earlier one for the same example."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from hashlib import sha256
from typing import TypeVar

from star_engine.tasks.exact import fold

K = TypeVar("K")
E = TypeVar("E", bound=Hashable)


def dedupe_key(text: str) -> str:
    """Equal for two texts that differ in case and white space only; 64 hexadecimal characters."""
    return sha256(fold(text).encode("utf-8", "replace")).hexdigest()


def dedupe(rows: Iterable[tuple[K, E, str]]) -> list[K]:
    """Return the keys to drop from (key, example, text) triples: the first of each example and text stays."""
    seen: set[tuple[E, str]] = set()
    dropped = []
    for key, example, text in rows:
        same = (example, dedupe_key(text))
        if same in seen:
            dropped.append(key)
        seen.add(same)
    return dropped
