"""An iteration may have adapters of several roles; what means its generator never takes another one."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from app.database import clock, new_id, reading, transaction
from app.ledger.jobs.facts import best_iteration
from app.ledger.jobs.forks import ForkPoint
from app.ledger.jobs.retention import apply_retention, set_retention
from app.ledger.results.adapters import find_adapter, get_adapter, list_adapters
from app.ledger.results.iterations import list_iterations
from app.tables.jobs import Job
from app.tables.rationales import Adapter
from star_engine.adapters.roles import AdapterRole
from tests.app.ledger.ledger_driver import finish_job
from tests.factories import World


def add(world: World, job_id: str, iteration: int, role: AdapterRole = AdapterRole.VERIFIER) -> str:
    """A verified adapter beside the generator of an iteration."""
    name = new_id("adp")
    with transaction(world.engine) as session:
        session.add(
            Adapter(
                id=name,
                job_id=job_id,
                iteration_number=iteration,
                role=role,
                files=[],
                training={"steps": 1},
                verification={"loads": True},
            )
        )
    return name


@pytest.fixture
def job_id(world: World) -> str:
    """A finished job of two iterations, each with a verifier that is newer than both generators."""
    made = world.submit()
    finish_job(world)
    for iteration in (1, 2):
        add(world, made, iteration)
    return made


def roles(world: World, job_id: str, *, alive: bool = False) -> list[tuple[int, str]]:
    with reading(world.engine) as session:
        found = [one for one in list_adapters(session, job_id) if not (alive and one.deleted_at)]
        return [(one.iteration_number, str(one.role)) for one in found]


BOTH = [(1, "generator"), (1, "verifier"), (2, "generator"), (2, "verifier")]


def test_an_iteration_has_one_adapter_of_each_role(world: World, job_id: str) -> None:
    assert roles(world, job_id) == BOTH
    for role in (AdapterRole.GENERATOR, AdapterRole.VERIFIER):
        with pytest.raises(IntegrityError):
            add(world, job_id, 1, role)
    assert roles(world, job_id) == BOTH


def test_the_adapter_of_an_iteration_is_its_generator_unless_another_is_asked_for(
    world: World, job_id: str
) -> None:
    with reading(world.engine) as session:
        generator, verifier = list_adapters(session, job_id)[:2]
        assert find_adapter(session, job_id, 1) is generator
        assert find_adapter(session, job_id, 1, AdapterRole.VERIFIER) is verifier
        assert find_adapter(session, job_id, 1, AdapterRole.QUIET) is None


def test_aliases_pages_and_the_best_iteration_mean_generators(world: World, job_id: str) -> None:
    with reading(world.engine) as session:
        job = session.get_one(Job, job_id)
        first, _, second, _ = list_adapters(session, job_id)
        aliases = {"1": first, "2": second, "last": second}
        for which, meant in aliases.items():
            assert get_adapter(session, job.project_id, f"{job_id}:{which}")[0] is meant
        shown = list_iterations(session, job_id, after=-1, limit=9)
        assert {row.number: name for row, name in shown} == {0: None, 1: first.id, 2: second.id}
        best = best_iteration(session, job)
        assert best is not None
        assert best["adapter_id"] in (first.id, second.id)


def test_a_fork_takes_over_the_adapters_of_every_role(world: World, job_id: str) -> None:
    made = world.submit(fork=ForkPoint(job_id, 2), iterations=3)
    assert roles(world, made) == BOTH
    finish_job(world)
    assert roles(world, made) == [*BOTH, (3, "generator")]


def test_a_fork_needs_the_generator_and_not_the_verifier(world: World, job_id: str) -> None:
    with transaction(world.engine) as session:
        gone = (Adapter.job_id == job_id) & (Adapter.role == AdapterRole.VERIFIER)
        session.execute(update(Adapter).where(gone).values(deleted_at=clock()))
    assert world.submit(fork=ForkPoint(job_id, 2), iterations=3)


@pytest.mark.parametrize(
    ("rule", "pinned", "kept"),
    [
        ({"keep_last": 1, "keep_best": False}, None, BOTH[2:]),
        ({"keep_last": 1, "keep_best": False}, 1, BOTH),
        ({"keep_last": 0, "keep_best": False}, 1, BOTH[:2]),
        ({"days": 1}, 2, BOTH[2:]),
        ({"days": 1}, None, []),
        ({"days": 9}, None, BOTH),
    ],
)
def test_retention_keeps_a_verifier_with_its_generator(
    world: World,
    job_id: str,
    rule: dict[str, int | bool],
    pinned: int | None,
    kept: list[tuple[int, str]],
) -> None:
    with transaction(world.engine) as session:
        job = session.get_one(Job, job_id)
        set_retention(session, job, rule)
        job.finished_at = session.scalars(select(clock())).one() - timedelta(days=2)
        if pinned is not None:
            generator = find_adapter(session, job_id, pinned)
            assert generator is not None
            generator.pinned = True
    assert apply_retention(world.engine) == 4 - len(kept)
    assert roles(world, job_id, alive=True) == kept
