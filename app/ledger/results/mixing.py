"""Other datasets' examples for an iteration's training set, and their rationales' rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.ledger.data.examples import load_examples, split_size
from app.ledger.queue.steps import Claim
from app.ledger.results.rationales import claimed_iteration, record_rationales
from app.tables.data import Example as ExampleRow
from app.tables.rationales import Rationale
from star_engine.config.star import StarConfig
from star_engine.sampling.rationales import RationaleKey, Route
from star_engine.tasks.examples import Example, PromptSet
from star_engine.training_set.mixing import Mixed, mix_in, mixed_positions

MixedRows = tuple[Mixed, Mapping[str, int]]  # with the row ids of its examples


def mixed_into(
    session: Session, config: StarConfig, prompt_set: PromptSet, iteration: int, kept: int
) -> Iterator[MixedRows]:
    """What each dataset of `training_set.mix` adds beside `kept` own rows: the same whenever it is asked."""
    for place, mix in enumerate(config.training_set.mix):
        count = split_size(session, mix.dataset, "train")
        positions = mixed_positions(config, iteration, place, kept, count)
        loaded = load_examples(session, mix.dataset, "train", positions)
        examples: list[Example] = [item for _, item in loaded]
        yield mix_in(config, prompt_set, place, examples), {item.id: row_id for row_id, item in loaded}


def record_mixed(session: Session, claim: Claim, added: Sequence[MixedRows]) -> dict[RationaleKey, int]:
    """Record the mixed rationales; their row ids by key. Raises Fenced."""
    for mixed, row_ids in added:
        record_rationales(session, claim, mixed.rationales, row_ids, None)
    iteration = claimed_iteration(session, claim)
    query = (
        select(Rationale.id, Rationale.sample, ExampleRow.external_id)
        .join(ExampleRow, ExampleRow.id == Rationale.example_id)
        .where(Rationale.iteration_id == iteration.id, Rationale.route == Route.MIXED)
    )
    return {RationaleKey(name, Route.MIXED, place): row for row, place, name in session.execute(query)}
