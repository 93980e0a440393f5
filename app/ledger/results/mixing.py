"""Other datasets' examples for an iteration's training set, and their rationales' rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.ledger.data.examples import load_examples, split_size
from app.ledger.queue.steps import Claim
from app.ledger.results.rationales import claimed_iteration, record_rationales
from app.tables.data import Example as ExampleRow
from app.tables.rationales import Rationale
from star_engine.sampling.rationales import Rationale as Try
from star_engine.sampling.rationales import RationaleKey, Route
from star_engine.tasks.examples import Example


@dataclass(frozen=True, slots=True)
class DatasetMix:
    """The datasets that `training_set.mix` names, read in one transaction."""

    session: Session

    def mix_size(self, dataset: str) -> int:
        return split_size(self.session, dataset, "train")

    def mix_examples(self, dataset: str, positions: Sequence[int]) -> list[Example]:
        return [example for _, example in load_examples(self.session, dataset, "train", positions)]


def record_mixed(
    session: Session, claim: Claim, added: Sequence[tuple[Sequence[Try], Mapping[str, int]]]
) -> dict[RationaleKey, int]:
    """Record the mixed rationales of each dataset, given with the row ids of its examples. Raises Fenced.

    Returns the row ids of all of them by key.
    """
    for rationales, row_ids in added:
        record_rationales(session, claim, rationales, row_ids, None)
    iteration = claimed_iteration(session, claim)
    query = (
        select(Rationale.id, Rationale.sample, ExampleRow.external_id)
        .join(ExampleRow, ExampleRow.id == Rationale.example_id)
        .where(Rationale.iteration_id == iteration.id, Rationale.route == Route.MIXED)
    )
    return {RationaleKey(name, Route.MIXED, place): row for row, place, name in session.execute(query)}
