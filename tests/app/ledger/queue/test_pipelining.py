"""Sampling is planned beside the evaluation before it, where nothing that is measured can stop the job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.database import reading, transaction
from app.ledger.events import list_events
from app.ledger.jobs.jobs import cancel_job, get_job, pause_job, resume_job
from app.ledger.queue.steps import Claim, claim_step
from app.tables.jobs import Iteration, Step
from tests.app.ledger.ledger_driver import claim, do_step, finish_job, finish_phase
from tests.factories import World, make_world
from tests.faults.checker import check


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> World:
    return make_world(database_url, tmp_path / "home", pipeline=True)


def steps(world: World, job_id: str, **of: Any) -> list[Step]:
    with reading(world.engine) as session:
        return list(session.scalars(select(Step).filter_by(job_id=job_id, **of).order_by(Step.id)))


def beside(world: World, job_id: str) -> list[Step]:
    """The steps of iteration 2's sampling, at the moment when iteration 1 is evaluated."""
    finish_phase(world, "verify_adapter")
    assert (world.job(job_id).phase, world.job(job_id).iteration) == ("evaluate", 1)
    return steps(world, job_id, iteration_number=2, phase="sample")


def phases(world: World, job_id: str) -> list[tuple[str, Any, Any]]:
    """The events of phases and iterations, in order."""
    with reading(world.engine) as session:
        events = list_events(session, job_id, 0, 1000)
        return [
            (event.type, event.data.get("phase"), event.data["iteration"])
            for event in events
            if event.type.startswith(("phase.", "iteration."))
        ]


def held_by(world: World, count: int) -> list[Claim]:
    found = [claim_step(world.engine, f"worker:{number}", 60) for number in range(count)]
    return [one for one in found if one is not None]


def test_sampling_is_planned_with_the_evaluation_and_claimed_after_it(world: World) -> None:
    job_id = world.submit()
    planned = beside(world, job_id)
    assert {step.status for step in planned} == {"queued"}
    measuring = len(steps(world, job_id, iteration_number=1, phase="evaluate"))
    order = [one.phase for one in held_by(world, measuring + len(planned))]
    assert order == ["evaluate"] * measuring + ["sample"] * len(planned)


@pytest.mark.parametrize("first", ["evaluate", "sample"])
def test_whichever_is_done_first_phases_end_in_order(world: World, first: str) -> None:
    job_id = world.submit()
    beside(world, job_id)
    held = held_by(world, 10)
    for one in sorted(held, key=lambda one: one.phase != first):
        where = (world.job(job_id).phase, world.job(job_id).iteration)
        left = [other.phase for other in held[held.index(one) :]]
        assert where == (("evaluate", 1) if first == "sample" or "evaluate" in left else ("sample", 2))
        do_step(world, one)
    assert (world.job(job_id).phase, world.job(job_id).iteration) == ("build", 2)
    finish_job(world)
    assert world.job(job_id).status == "succeeded"
    check(world)
    with reading(world.engine) as session:
        found = session.scalars(
            select(Iteration).where(Iteration.job_id == job_id).order_by(Iteration.number)
        )
        accuracies = [one.metrics["accuracy"] for one in found]
    assert len(accuracies) == 3


def test_the_events_are_those_of_one_phase_after_the_other(world: World) -> None:
    """A target that is never reached makes the second job wait for each accuracy."""
    told = []
    for stop in ({}, {"target_accuracy": 1.0}):
        job_id = world.submit(stop=stop)
        assert bool(beside(world, job_id)) == (stop == {})
        finish_job(world)
        told.append(phases(world, job_id))
    assert told[0] == told[1]


def test_a_job_with_a_budget_of_gpu_seconds_or_a_patience_that_may_end_measures_first(world: World) -> None:
    impatient = world.submit(stop={"patience": 1})
    assert beside(world, impatient) == []
    finish_job(world)
    limited = world.submit()
    with transaction(world.engine) as session:
        get_job(session, world.project_id, limited).budget_gpu_seconds = 1e6
    assert beside(world, limited) == []


def test_a_pause_holds_both_and_a_cancel_drops_both(world: World) -> None:
    job_id = world.submit()
    beside(world, job_id)
    with transaction(world.engine) as session:
        pause_job(session, get_job(session, world.project_id, job_id))
    assert {step.status for step in steps(world, job_id) if step.status != "succeeded"} == {"held"}
    with transaction(world.engine) as session:
        resume_job(session, get_job(session, world.project_id, job_id), world.settings)
    do_step(world, claim(world))
    with transaction(world.engine) as session:
        cancel_job(session, get_job(session, world.project_id, job_id))
    assert {step.status for step in steps(world, job_id)} == {"succeeded", "cancelled"}
    check(world)
