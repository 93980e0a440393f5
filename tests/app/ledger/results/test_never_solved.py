"""What a job never solved without a hint, and the dataset that it becomes."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from app.database import reading
from app.errors import Conflict
from app.ledger.results import never_solved
from app.ledger.results.never_solved import derive_dataset, each_never_solved
from app.tables.data import Dataset, Example
from tests.app.ledger.ledger_driver import finish_job
from tests.factories import TRAIN, VALIDATION, World

ODD = [f"e{number}" for number in range(1, TRAIN, 2)]  # hands.py solves the even ones at once


def test_examples_that_were_rationalized_only_count_as_never_solved(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(never_solved, "PAGE", 3)
    job = world.job(world.submit())
    assert list(each_never_solved(world.engine, job)) == []  # nothing was tried yet
    finish_job(world)
    assert [row.external_id for row in each_never_solved(world.engine, job)] == ODD


def test_dataset_of_them_names_its_source_and_keeps_the_held_out_examples(world: World) -> None:
    job = world.job(world.submit())
    with pytest.raises(Conflict):
        derive_dataset(world.engine, job, "hard ones", held_out=True)
    finish_job(world)
    made, new = derive_dataset(world.engine, job, "hard ones", held_out=True)
    assert new
    assert made.splits == {"train": len(ODD), "validation": VALIDATION}
    assert made.derived_from == {"job": job.id, "dataset": job.dataset_id, "selection": "never_solved"}
    with reading(world.engine) as session:
        rows = session.execute(
            select(Example.split, Example.position, Example.external_id, Example.answer)
            .where(Example.dataset_id == made.id)
            .order_by(Example.id)
        ).all()
        source = session.scalars(select(Example.answer).where(Example.external_id == "e1")).first()
        assert session.get_one(Dataset, made.id).staged_until is None
    assert [row[:3] for row in rows if row.split == "train"] == [
        ("train", place, name) for place, name in enumerate(ODD)
    ]
    assert rows[0].answer == source
    assert derive_dataset(world.engine, job, "again", held_out=True)[0].id == made.id
    alone, new = derive_dataset(world.engine, job, "alone", held_out=False)
    assert (new, alone.splits) == (True, {"train": len(ODD)})
