"""The PairRecord of a service: preference pairs, behind the fence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from sqlalchemy.orm import Session

from app.database import reading
from app.ledger.data.examples import load_examples
from app.ledger.queue.steps import Claim
from app.ledger.queue.waves import asked_positions
from app.ledger.results.overrides import read_overrides
from app.ledger.results.preference_pairs import (
    record_pairs,
    record_references,
    recorded_pairs,
    tries_so_far,
)
from app.ledger.results.rationales import claimed_iteration
from star_engine.tasks.examples import Example
from star_engine.training_set.overrides import overruled
from star_engine.training_set.pairs import PairRow, Tried
from worker.context import WorkerContext

Transaction = Callable[[], AbstractContextManager[Session]]


@dataclass(slots=True)
class LedgerPairs:
    """The pairs of one claimed step. It remembers the row ids of the examples."""

    worker: WorkerContext
    claim: Claim
    recording: Transaction  # records a batch
    finishing: Transaction  # is the step's last one
    _row_ids: dict[str, int] = field(default_factory=dict)

    def examples(self) -> list[Example]:
        claim = self.claim
        with reading(self.worker.engine) as session:
            asked = {
                position
                for number in range(1, claim.iteration + 1)
                for position in asked_positions(session, claim.job_id, claim.dataset_id, claim.config, number)
            }
            rows = load_examples(session, claim.dataset_id, "train", sorted(asked))
        self._row_ids = {example.id: row_id for row_id, example in rows}
        return [example for _, example in rows]

    def tries(self) -> list[Tried]:
        with reading(self.worker.engine) as session:
            found = list(tries_so_far(session, self.claim))
            overrides = read_overrides(session, self.claim.job_id)
        judged: list[Tried] = []
        for number, group in groupby(found, key=lambda one: one.iteration):
            tries = [one.rationale for one in group]
            verdicts = {key: one.verdict for key, one in overrides.of(tries).items()}
            judged += [Tried(number, one) for one in overruled(tries, verdicts)]
        return judged

    def recorded(self) -> list[PairRow]:
        with reading(self.worker.engine) as session:
            return recorded_pairs(session, claimed_iteration(session, self.claim).id)

    def add(self, rows: Sequence[PairRow], facts: Mapping[str, Any]) -> None:
        with self.recording() as session:
            record_pairs(session, self.claim, rows, facts, self._row_ids)

    def add_references(self, found: Mapping[int, tuple[float, float]]) -> None:
        with self.recording() as session:
            record_references(session, self.claim, found)

    def finish(self) -> None:
        with self.finishing():
            pass
