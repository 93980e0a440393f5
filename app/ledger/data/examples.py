"""Reading the examples of a dataset: by position for work, by page for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

from sqlalchemy import ColumnElement, and_, exists, func, select
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.given_up import stop_if_given_up
from app.ledger.keyset import walk
from app.tables.data import Dataset
from app.tables.data import Example as ExampleRow
from star_engine.config.star import StarConfig
from star_engine.data.selection import select_train
from star_engine.diagnostics.spark import Guesses
from star_engine.sampling.labels import guesses_held_out
from star_engine.tasks.examples import Context, Example, Split
from star_engine.tasks.kind import Kind
from star_engine.tasks.registry import task_of

STOP_EVERY = 1000  # rows between two looks at whether anybody still waits
MAX_IN = 10_000  # values in one IN (...): SQLite takes 32,766 parameters


def load_examples(
    session: Session, dataset_id: str, split: str, positions: Sequence[int]
) -> list[tuple[int, Example]]:
    """The examples at these positions of a split, ascending, each with its row id."""
    loaded: list[tuple[int, Example]] = []
    for first in range(0, len(positions), MAX_IN):
        some = sorted(positions[first : first + MAX_IN])
        query = (
            select(ExampleRow)
            .where(ExampleRow.dataset_id == dataset_id, ExampleRow.split == split, _among(some))
            .order_by(ExampleRow.position)
        )
        loaded.extend((row.id, as_example(row)) for row in session.scalars(query))
    return loaded


def _among(positions: Sequence[int]) -> ColumnElement[bool]:
    if positions[-1] - positions[0] + 1 == len(positions):  # a shard of a whole split is a plain range
        return ExampleRow.position.between(positions[0], positions[-1])
    return ExampleRow.position.in_(positions)


def split_size(session: Session, dataset_id: str, split: str) -> int:
    """How many examples a split has."""
    return int(session.get_one(Dataset, dataset_id).splits.get(split, 0))


def selected_positions(session: Session, dataset_id: str, config: StarConfig, iteration: int) -> list[int]:
    """Positions of the train examples that this iteration asks: see select_train()."""
    groups = train_groups(session, dataset_id) if config.curriculum else None
    return select_train(config, split_size(session, dataset_id, "train"), iteration, groups)


def train_groups(session: Session, dataset_id: str) -> list[str | None]:
    """The group of every train example, by position."""
    query = select(ExampleRow.group).where(ExampleRow.dataset_id == dataset_id, ExampleRow.split == "train")
    return list(session.scalars(query.order_by(ExampleRow.position)))


def each_example(
    session: Session, dataset_id: str, splits: Sequence[str], first: int | None = None
) -> Iterator[Example]:
    """Stream every example of these splits, or the `first` so many, in the order of the uploaded file."""
    query = select(ExampleRow).where(ExampleRow.dataset_id == dataset_id, ExampleRow.split.in_(splits))
    query = query.order_by(ExampleRow.id).limit(first).execution_options(yield_per=STOP_EVERY)
    rows = session.scalars(query)
    for number, row in enumerate(rows):
        if number % STOP_EVERY == 0:
            stop_if_given_up()
        yield as_example(row)


def guessing_chance(session: Session, dataset_id: str, config: StarConfig) -> float:
    """The accuracy of guessing: on the held-out questions with choices, else by the answers of train."""
    split = config.evaluation.split if guesses_held_out(config) else "train"
    return guesses_of(session, dataset_id, config.kind, split).chance


def guesses_of(session: Session, dataset_id: str, kind: Kind, split: str) -> Guesses:
    """How often a guess is right on a split; a million different answers are not read for it."""
    guesses = Guesses(kind)
    here = (ExampleRow.dataset_id == dataset_id, ExampleRow.split == split)
    if task_of(kind).takes_choices:
        query = select(ExampleRow.answer, ExampleRow.choices).where(*here)
        for answer, choices in session.execute(query.execution_options(yield_per=1000)):
            guesses.add(Example("", "", answer, tuple(choices)))
        return guesses
    answer, count = func.lower(ExampleRow.answer), func.count()
    query_common = select(answer, count).where(*here).group_by(answer).order_by(count.desc(), answer).limit(1)
    for common, times in session.execute(query_common):
        guesses.add(Example("", "", common), times)
        others = session.scalar(select(func.count()).where(*here, answer != common)) or 0
        guesses.add_rarer(others)
    return guesses


def conversations(session: Session, dataset: Dataset) -> bool:
    """Whether some of its examples have turns before their question."""
    if dataset.statistics is not None:
        return bool(dataset.statistics.get("conversations"))  # not counted before there were any
    there = exists().where(ExampleRow.dataset_id == dataset.id, ExampleRow.context.is_not(None))
    return bool(session.scalar(select(there)))


def groups_of(session: Session, dataset_id: str, split: str) -> list[str | None]:
    """The groups that the examples of a split are in."""
    query = select(ExampleRow.group).where(ExampleRow.dataset_id == dataset_id, ExampleRow.split == split)
    return list(session.scalars(query.distinct()))


def list_examples(
    session: Session, dataset_id: str, *, split: str | None, after: str | None, limit: int
) -> Sequence[ExampleRow]:
    """A page in the order of the uploaded file; `after` is the id of the last example seen.

    Ids and, within a split, positions count in that order: each page is one walk of an index.
    """
    seen = None if after is None else find_example(session, dataset_id, after)
    if split is None:
        place = [(ExampleRow.dataset_id, dataset_id)]
        ids = walk(session, place, ExampleRow.id, 0 if seen is None else seen.id).limit(limit)
        return session.scalars(select(ExampleRow).where(ExampleRow.id.in_(ids)).order_by(ExampleRow.id)).all()
    here = and_(ExampleRow.dataset_id == dataset_id, ExampleRow.split == split)
    query = select(ExampleRow).where(here, ExampleRow.position > _position(session, here, split, seen))
    return session.scalars(query.order_by(ExampleRow.position).limit(limit)).all()


def _position(session: Session, here: ColumnElement[bool], split: str, seen: ExampleRow | None) -> int:
    """Return the position of the last example of the split up to `after`, which may be of another split; -1
    if none.
    """
    if seen is None or seen.split == split:
        return -1 if seen is None else seen.position
    position = session.scalar(select(func.max(ExampleRow.position)).where(here, ExampleRow.id < seen.id))
    return -1 if position is None else position


def find_example(session: Session, dataset_id: str, example_id: str) -> ExampleRow:
    """An example by its own id; else NotFound."""
    query = select(ExampleRow).where(
        ExampleRow.dataset_id == dataset_id, ExampleRow.external_id == example_id
    )
    row = session.scalars(query).one_or_none()
    if row is None:
        raise NotFound(f"The dataset {dataset_id} has no example {example_id!r}.")
    return row


def example_row_id(session: Session, dataset_id: str, example_id: str) -> int | None:
    query = select(ExampleRow.id).where(
        ExampleRow.dataset_id == dataset_id, ExampleRow.external_id == example_id
    )
    return session.scalar(query)


def pairs(stored: Sequence[Any] | None) -> Context:
    """The turns before a question as the engine has them."""
    return tuple((asked, said) for asked, said in stored or ())


def as_example(row: ExampleRow) -> Example:
    """A row as the engine reads it."""
    return Example(
        id=row.external_id,
        question=row.question,
        answer=row.answer,
        choices=None if row.choices is None else tuple(row.choices),
        group=row.group,
        split=cast(Split, row.split),
        solution=row.solution,
        context=pairs(row.context),
    )
