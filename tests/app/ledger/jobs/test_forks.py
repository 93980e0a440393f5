"""A fork takes over what was recorded, down to the last row, and goes on from there like any other job."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from app.database import reading, transaction
from app.errors import Conflict
from app.ledger.jobs.forks import ForkPoint
from app.ledger.results.adapters import list_adapters
from app.ledger.results.iterations import config_of, iterations_among
from app.ledger.results.rationales import training_rows
from app.tables.jobs import Iteration, Step
from app.tables.rationales import Adapter, Evaluation, Rationale
from star_engine.config.star import StarConfig
from tests.app.ledger.ledger_driver import finish_job, finish_phase
from tests.factories import CONFIG, World
from tests.faults.checker import check


def fork(world: World, job_id: str, iteration: int, **changes: Any) -> str:
    return world.submit(fork=ForkPoint(job_id, iteration), **changes)


def recorded(world: World, job_id: str, last: int) -> list[Any]:
    """Everything of iterations 0 to `last` that is not an id of its own."""
    found: list[Any] = []
    with reading(world.engine) as session:
        for row in iterations_among(session, job_id, range(last + 1)):
            of = Rationale.iteration_id == row.id
            found.append((row.number, row.phases_done, row.metrics, row.training_set_sha256))
            tries = select(Rationale).where(of).order_by(Rationale.example_id, Rationale.route)
            found += [
                (
                    item.example_id,
                    item.route,
                    item.sample,
                    item.text,
                    item.verdict,
                    item.decision,
                    item.reason,
                )
                for item in session.scalars(tries)
            ]
            answers = select(Evaluation).where(Evaluation.iteration_id == row.id)
            found += sorted((a.mode, a.example_id, a.text, a.verdict) for a in session.scalars(answers))
            found += [
                (
                    name,
                    trained.position,
                    trained.prompt,
                    trained.completion,
                    made.route,
                    made.iteration_id == row.id,
                )
                for trained, made, name in training_rows(session, row.id)
            ]
        found += [
            (a.iteration_number, a.files, a.verification) for a in list_adapters(session, job_id)[:last]
        ]
    return found


def test_a_fork_has_every_row_of_what_it_took_over_and_runs_the_rest(world: World) -> None:
    source = world.submit()
    finish_job(world)
    made = fork(world, source, 1, iterations=3)
    assert recorded(world, made, 1) == recorded(world, source, 1)
    job = world.job(made)
    assert (job.status, job.phase, job.iteration) == ("queued", "sample", 2)
    assert (job.forked_from, job.forked_from_iteration) == (source, 1)
    finish_job(world)
    assert (world.job(made).status, world.job(made).iteration) == ("succeeded", 3)
    with reading(world.engine) as session:
        steps = select(Step.iteration_number).where(Step.job_id == made).distinct()
        assert sorted(session.scalars(steps)) == [2, 3]
    check(world)


def test_a_fork_of_iteration_0_takes_over_the_baselines_alone(world: World) -> None:
    source = world.submit()
    finish_phase(world, "sample")
    made = fork(world, source, 0)
    assert (world.job(made).phase, world.job(made).iteration) == ("sample", 1)
    assert recorded(world, made, 0) == recorded(world, source, 0)
    with reading(world.engine) as session:
        assert session.scalars(select(Rationale).where(Rationale.job_id == made)).first() is None
    finish_job(world)
    check(world)


def test_what_was_taken_over_keeps_the_settings_it_was_made_with(world: World) -> None:
    source = world.submit()
    finish_job(world)
    made = fork(world, source, 1, rationalization={"enabled": False})
    again = fork(world, made, 1, iterations=4)
    with reading(world.engine) as session:
        for job_id in (made, again):
            taken, own = session.scalars(
                select(Iteration)
                .where(Iteration.job_id == job_id, Iteration.number > 0)
                .order_by(Iteration.number)
            )
            job = world.job(job_id)
            assert config_of(job, taken) == StarConfig.model_validate(CONFIG)
            assert config_of(job, own) == job.config


def test_the_copies_were_sampled_by_the_copies_of_their_adapters(world: World) -> None:
    source = world.submit()
    finish_job(world)
    with transaction(world.engine) as session:
        first, _ = list_adapters(session, source)
        for row in session.scalars(select(Rationale).where(Rationale.iteration_number == 2)):
            row.sampler_adapter_id = first.id
    made = fork(world, source, 2, iterations=3)
    with reading(world.engine) as session:
        copied = select(Rationale.iteration_number, Rationale.sampler_adapter_id).where(
            Rationale.job_id == made
        )
        first_copy = list_adapters(session, made)[0].id
        assert set(map(tuple, session.execute(copied))) == {(1, None), (2, first_copy)}


def test_a_fork_without_the_adapter_that_it_goes_on_from_is_refused_whole(world: World) -> None:
    source = world.submit()
    finish_job(world)
    with transaction(world.engine) as session:
        session.delete(list_adapters(session, source)[0])
    with pytest.raises(Conflict, match="adapter of iteration 1"):
        fork(world, source, 1)
    with reading(world.engine) as session:
        assert session.scalars(select(Adapter)).all() == list_adapters(session, source)
