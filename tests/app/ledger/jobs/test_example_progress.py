"""What the model still fails of a job's train examples, since when, tried how often."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from app.database import reading, transaction
from app.ledger.jobs import example_progress as module
from app.ledger.jobs.example_progress import ExampleProgress, ExampleState, example_progress
from app.tables.rationales import Rationale
from star_engine.sampling.rationales import Route
from tests.app.ledger.ledger_driver import finish_job
from tests.factories import TRAIN, World

EVEN = [f"e{number}" for number in range(0, TRAIN, 2)]  # ledger_driver solves them at once
ODD = [f"e{number}" for number in range(1, TRAIN, 2)]  # and these with the hint


def found(world: World, job_id: str, state: ExampleState | None = None) -> dict[str, ExampleProgress]:
    with reading(world.engine) as session:
        rows = example_progress(session, world.job(job_id), state, after=0, limit=100)
        return {one.example.external_id: one for one in rows}


def judge_wrong(world: World, iterations: list[int]) -> None:
    """Every try of these iterations turns out wrong."""
    with transaction(world.engine) as session:
        session.execute(
            update(Rationale).where(Rationale.iteration_number.in_(iterations)).values(verdict="wrong")
        )


def test_examples_are_solved_or_not_since_an_iteration(world: World) -> None:
    job_id = world.submit(iterations=3)
    assert found(world, job_id) == {}
    finish_job(world)
    every = found(world, job_id)
    assert [name for name, one in every.items() if one.state is ExampleState.SOLVED] == EVEN
    assert [name for name, one in every.items() if one.state is ExampleState.UNSOLVED] == ODD
    even, odd = every["e0"], every["e1"]
    assert (even.since, even.iterations, even.tries, even.right, even.hinted, even.trained) == (
        1,
        3,
        3,
        3,
        0,
        3,
    )
    assert (odd.tries, odd.right, odd.hinted, odd.hinted_right, odd.trained) == (3, 0, 3, 3, 3)
    judge_wrong(world, [2, 3])
    even, odd = (found(world, job_id)[name] for name in ("e0", "e1"))
    assert (even.state, even.since, even.last_iteration) == (ExampleState.FORGOTTEN, 2, 3)
    assert (odd.state, odd.since) == (ExampleState.UNSOLVED, 1)
    judge_wrong(world, [1])
    assert {one.state for one in found(world, job_id).values()} == {ExampleState.SUSPECT}


def test_tries_with_a_procedural_hint_count_as_hinted(world: World) -> None:
    job_id = world.submit(iterations=3)
    finish_job(world)
    with transaction(world.engine) as session:
        session.execute(
            update(Rationale).where(Rationale.route == Route.RATIONALIZED).values(route=Route.HINTED)
        )
    odd = found(world, job_id)["e1"]
    assert odd.state is ExampleState.UNSOLVED
    assert (odd.tries, odd.right, odd.hinted, odd.hinted_right, odd.trained) == (3, 0, 3, 3, 3)


@pytest.mark.parametrize("state", [None, *ExampleState])
def test_pages_of_a_state_are_complete_however_few_are_read_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch, state: ExampleState | None
) -> None:
    job_id = world.submit()
    finish_job(world)
    whole = list(found(world, job_id, state))
    monkeypatch.setattr(module, "AT_ONCE", 3)
    paged, after = list[str](), 0
    while True:
        with reading(world.engine) as session:
            rows = example_progress(session, world.job(job_id), state, after=after, limit=2)
            paged += [one.example.external_id for one in rows]
            after = rows[-1].example.id if rows else 0
        if len(rows) < 2:
            break
    assert paged == whole
