"""What a training learns from, as tokens: texts, or preference pairs. A batch is named by numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from star_engine.gpu.training.distillation_loss import TaughtRow, fitting_taught
from star_engine.gpu.training.lora_run import Learned, LoraRun
from star_engine.gpu.training.pair_loss import TokenizedPair, fitting_pairs
from star_engine.gpu.training.tokenized_rows import TokenizedRow, fitting_rows
from star_engine.protocols import (
    Distillation,
    DistilledText,
    Preference,
    PreferencePair,
    TrainingJob,
    TrainingText,
)


class TrainingData(Protocol):
    @property
    def lengths(self) -> list[int]:
        """Tokens of each row or pair."""

    def longest(self, batch: Sequence[int]) -> int:
        """Tokens of the longest text of a batch: what has to run through the model at once."""

    def learn(self, run: LoraRun, batch: Sequence[int], token_limit: int) -> Learned: ...

    def hashed(self) -> Iterator[str]:
        """All that decides what is learned from it."""


def training_data(tokenizer: Any, job: TrainingJob, max_length: int, eos: int) -> TrainingData:
    """Raises ValueError for what cannot be learned: see `fitting_rows` and `fitting_pairs`."""
    if job.distillation is not None:
        taught = [one for one in job.data if isinstance(one, DistilledText)]
        return Taught(fitting_taught(tokenizer, taught, max_length, eos), job.distillation)
    if job.preference is None:
        texts = [one for one in job.data if isinstance(one, TrainingText)]
        return Texts(fitting_rows(tokenizer, texts, max_length, eos, job.settings.loss))
    pairs = [one for one in job.data if isinstance(one, PreferencePair)]
    return Pairs(fitting_pairs(tokenizer, pairs, max_length, eos), job.preference)


@dataclass(frozen=True, slots=True)
class Texts:
    rows: Sequence[TokenizedRow]

    @property
    def lengths(self) -> list[int]:
        return [len(row.ids) for row in self.rows]

    def longest(self, batch: Sequence[int]) -> int:
        return max(len(self.rows[n].ids) for n in batch)

    def learn(self, run: LoraRun, batch: Sequence[int], token_limit: int) -> Learned:
        return run.learn([self.rows[n] for n in batch], token_limit)

    def hashed(self) -> Iterator[str]:
        return map(_row_hashed, self.rows)


@dataclass(frozen=True, slots=True)
class Pairs:
    pairs: Sequence[TokenizedPair]
    preference: Preference

    @property
    def lengths(self) -> list[int]:
        return [pair.length for pair in self.pairs]

    def longest(self, batch: Sequence[int]) -> int:
        return 2 * max(self.pairs[n].longest for n in batch)

    def learn(self, run: LoraRun, batch: Sequence[int], token_limit: int) -> Learned:
        return run.learn_pairs([self.pairs[n] for n in batch], self.preference, token_limit)

    def hashed(self) -> Iterator[str]:
        yield json.dumps(["pairs", self.preference.beta, self.preference.nll])
        for pair in self.pairs:
            yield json.dumps([pair.reference_chosen, pair.reference_rejected, pair.weight])
            yield from map(_row_hashed, pair.rows)


@dataclass(frozen=True, slots=True)
class Taught:
    rows: Sequence[TaughtRow]
    distillation: Distillation

    @property
    def lengths(self) -> list[int]:
        return [row.length for row in self.rows]

    def longest(self, batch: Sequence[int]) -> int:
        return max(self.rows[n].longest for n in batch)

    def learn(self, run: LoraRun, batch: Sequence[int], token_limit: int) -> Learned:
        return run.learn_distilled([self.rows[n] for n in batch], self.distillation, token_limit)

    def hashed(self) -> Iterator[str]:
        how = self.distillation
        yield json.dumps(["distilled", how.beta, how.temperature, how.top_k, how.clip])
        for row in self.rows:
            yield _row_hashed(row.student)
            yield _row_hashed(row.teacher)


def _row_hashed(row: TokenizedRow) -> str:
    masked = [sorted(row.masked)] if row.masked else []
    return json.dumps([row.start, row.ids, *masked])
