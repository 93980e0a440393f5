"""Tokens that can complete a stop string: only after these is a row's text decoded and searched."""

from __future__ import annotations

from typing import Any


class StopTokens:
    """The stop tokens of one tokenizer, found once for each set of stop strings."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._pieces: list[str] = []
        self._known: dict[tuple[str, ...], frozenset[int]] = {(): frozenset()}

    def of(self, stop: tuple[str, ...]) -> frozenset[int]:
        """Return the tokens behind which one of these stop strings may stand."""
        if stop not in self._known:
            self._known[stop] = self._find({text[-1] for text in stop})
        return self._known[stop]

    def _find(self, ends: set[str]) -> frozenset[int]:
        if not self._pieces:
            self._pieces = self._tokenizer.batch_decode([[token] for token in range(len(self._tokenizer))])
        if " " in ends:  # some decoders drop a leading space of a single token
            return frozenset(range(len(self._pieces)))
        return frozenset(
            token
            for token, piece in enumerate(self._pieces)
            if "\ufffd" in piece or not ends.isdisjoint(piece)
        )
