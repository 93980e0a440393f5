"""A reviewer's verdict: heeded by every training set that is built after it, and written into its lineage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.database import reading, transaction
from app.ledger.platform.keys import Caller, Scope
from app.ledger.results.overrides import honoured_from, override_verdict
from app.tables.jobs import Iteration
from app.tables.rationales import Rationale, TrainingExample
from star_engine.training_set.rows import audit_hints
from tests.app.ledger.ledger_driver import claim, do_step, finish_phase
from tests.factories import World, make_world
from worker.shared_calls import work_on

UNFILTERED: dict[str, Any] = {"filters": [], "min_kept": 1}


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> World:
    return make_world(database_url, tmp_path / "home")


@pytest.fixture
def job_id(world: World) -> str:
    """Sampled, by the book of hands.py: half of the examples right at once, half after rationalization."""
    job_id = world.submit(training_set=UNFILTERED)
    finish_phase(world, "sample")
    return job_id


def overrule(world: World, job_id: str, says: str, **which: Any) -> int:
    """Overrule the first rationale that fits; returns its row id."""
    with transaction(world.engine) as session:
        query = select(Rationale).filter_by(job_id=job_id, **which).order_by(Rationale.id)
        rationale = session.scalars(query).first()
        assert rationale is not None
        caller = Caller(world.project_id, world.key_id, frozenset({Scope.SUBMIT}))
        override_verdict(session, caller, world.job(job_id), rationale, says, "read it")
        return rationale.id


def build(world: World) -> None:
    held = claim(world)
    assert held.phase == "build"
    work_on(world.worker_context(), held)


def fate(world: World, rationale_id: int) -> tuple[str | None, str | None, bool, bool]:
    """Decision, reason, whether an override decided, whether it is in the training set."""
    with reading(world.engine) as session:
        row = session.get_one(Rationale, rationale_id)
        trained = select(TrainingExample.id).where(TrainingExample.rationale_id == rationale_id)
        return row.decision, row.reason, row.override_id is not None, session.scalar(trained) is not None


def metrics(world: World, job_id: str, number: int) -> dict[str, Any]:
    with reading(world.engine) as session:
        found = select(Iteration.metrics).filter_by(job_id=job_id, number=number)
        return dict(session.scalars(found).one())


def test_iteration_whose_training_set_is_not_built_heeds_it(world: World, job_id: str) -> None:
    lucky = overrule(world, job_id, "wrong", verdict="correct", route="generated")
    right = overrule(world, job_id, "correct", verdict="wrong")
    build(world)
    assert fate(world, lucky) == ("dropped", "overridden", True, False)
    assert fate(world, right) == ("kept", "kept", True, True)
    found = metrics(world, job_id, 1)
    assert found["dropped"]["generated"]["overridden"] == 1
    assert found["funnel"]["generated"]["trained"] == found["kept"]["generated"]


def test_same_text_of_the_same_example_is_overruled_in_later_iterations(world: World, job_id: str) -> None:
    build(world)
    with transaction(world.engine) as session:
        assert honoured_from(session, world.job(job_id)) == 2
    lucky = overrule(world, job_id, "wrong", verdict="correct", route="generated")
    assert fate(world, lucky) == ("kept", "kept", False, True)
    while (held := claim(world)).phase != "build":
        do_step(world, held)
    work_on(world.worker_context(), held)
    with reading(world.engine) as session:
        first = session.get_one(Rationale, lucky)
        again = session.scalars(
            select(Rationale).filter_by(
                job_id=job_id, iteration_number=2, example_id=first.example_id, route="generated"
            )
        ).one()
        assert again.text == first.text
    assert fate(world, again.id) == ("dropped", "overridden", True, False)
    assert metrics(world, job_id, 2)["dropped"]["generated"]["overridden"] == 1


def test_last_override_of_a_text_counts(world: World, job_id: str) -> None:
    lucky = overrule(world, job_id, "wrong", verdict="correct")
    assert overrule(world, job_id, "correct", verdict="correct") == lucky
    build(world)
    assert fate(world, lucky) == ("kept", "kept", True, True)


def test_override_that_comes_while_the_set_is_built_makes_it_be_built_again(
    world: World, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[int] = []

    def audit(*given: Any) -> None:
        if not found:
            found.append(overrule(world, job_id, "wrong", verdict="correct"))
        audit_hints(*given)

    monkeypatch.setattr("star_engine.phases.build.audit_hints", audit)
    build(world)
    assert fate(world, found[0]) == ("dropped", "overridden", True, False)
