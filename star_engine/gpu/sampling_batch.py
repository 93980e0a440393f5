"""The rows of a running batch: what each is, which next token it draws, where its slot is."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from star_engine.gpu.kv_slots import Prefix, Slots
from star_engine.protocols import SampleRequest


class Waiting(Protocol):
    """The tokens still to be run through the model after a prefix."""

    @property
    def ids(self) -> NDArray[np.int64]:
        """Return the token ids of its prompt."""

    @property
    def length(self) -> int:
        """Tokens that its first pass sees, the prefix with them."""

    @property
    def logits(self) -> int:
        """Places whose logits that pass computes."""


R = TypeVar("R", bound=Waiting)
T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Row:
    request: SampleRequest
    ids: NDArray[np.int64]
    limit: int  # tokens it may generate
    stop: tuple[str, ...]
    enders: frozenset[int]  # tokens that can complete one of its stop strings
    draws: list[float] | None  # uniform numbers, one for each token to come; None: greedy
    generated: list[int] = field(default_factory=list)
    logits: int = 1  # of its first pass
    special: bool = False  # whether special tokens stand in its text

    @property
    def length(self) -> int:
        return len(self.ids)


class Batch:
    """Rows in flight behind one prefix, with the logits that their next tokens are chosen from."""

    def __init__(
        self,
        prefix: Prefix,
        rows: list[Row | None] | None = None,
        slots: Slots | None = None,
        logits: torch.Tensor | None = None,
    ) -> None:
        self.prefix = prefix
        self.rows = rows or []  # None: an empty slot
        self.slots = slots
        self.logits = torch.empty(0) if logits is None else logits

    @property
    def alive(self) -> int:
        return sum(row is not None for row in self.rows)

    def draws(self) -> torch.Tensor | None:
        """The uniform number of each row's next token; None where decoding is greedy."""
        if not any(row is not None and row.draws is not None for row in self.rows):
            return None
        numbers = [
            0.0 if row is None or row.draws is None else row.draws[len(row.generated)] for row in self.rows
        ]
        return torch.tensor(numbers, dtype=torch.float64, device=self.logits.device)

    def merge(self, other: Batch) -> None:
        if not other.alive or other.slots is None:
            return
        self.close_gaps()
        other.close_gaps()
        if self.slots is None:
            self.slots = other.slots
        else:
            self.slots.add(other.slots)
        self.rows += other.rows

    def close_gaps(self) -> None:
        """Drop the empty slots, once they are many: closing gaps copies the batch's keys and values."""
        alive = [index for index, row in enumerate(self.rows) if row is not None]
        if self.slots is None or len(self.rows) - len(alive) <= len(self.rows) // 8:
            return
        self.rows = [self.rows[index] for index in alive]
        self.slots = self.slots.keep(torch.tensor(alive, device=self.logits.device)) if alive else None


def common_prefix(one: NDArray[np.int64], other: NDArray[np.int64]) -> int:
    """Tokens that both begin with."""
    length = min(len(one), len(other))
    differs = one[:length] != other[:length]
    return int(differs.argmax()) if differs.any() else length


def behind(prefix: Sequence[int], waiting: Sequence[R]) -> list[R]:
    """Return the requests whose prompt begins with the prefix and continues after it."""
    shown = np.array(prefix, dtype=np.int64)
    return [
        row for row in waiting if len(row.ids) > len(shown) and common_prefix(shown, row.ids) == len(shown)
    ]


def make_draws(request: SampleRequest, count: int) -> list[float]:
    """Uniform numbers in [0, 1) from the request's seed; from its key where it has none."""
    seed = request.seed
    if seed is None:
        seed = int.from_bytes(hashlib.sha256(request.key.encode()).digest()[:7])
    source = torch.Generator().manual_seed(seed)
    numbers: list[float] = torch.rand(count, generator=source, dtype=torch.float64).tolist()
    return numbers


class StopTokens:
    """The tokens that can complete a stop string, found once for each set of them: only after these is a
    row's text decoded and searched."""

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
