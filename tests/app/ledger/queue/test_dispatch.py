from __future__ import annotations

from collections import Counter

import pytest
from sqlalchemy import update

from app.database import clock, new_id, transaction
from app.ledger.jobs.jobs import NewJob, create_job
from app.ledger.queue.steps import claim_step, release_step
from app.tables.data import Dataset, Model, PromptSet
from app.tables.jobs import Step
from app.tables.platform import ApiKey, Project
from star_engine.config.star import StarConfig
from tests.factories import CONFIG, MODEL, World


def submit(world: World, project: str, *, priority: int = 0, model: str = MODEL, **changes: object) -> str:
    """A job of another project, on this world's dataset, with these changes to its configuration."""
    with transaction(world.engine) as session:
        if session.get(Project, project) is None:
            session.add(Project(id=project, name=project))
            session.flush()
            session.add(ApiKey(id=project, project_id=project, name="", secret_sha256=new_id("x"), scopes=[]))
        if session.get(Model, model) is None:
            session.add(Model(id=model, location="here", files={}, context_length=100))
        session.flush()
        new = NewJob(
            name="test",
            config=StarConfig.model_validate({**CONFIG, **changes}),
            model=session.get_one(Model, model),
            dataset=session.get_one(Dataset, world.dataset_id),
            prompt_set=session.get_one(PromptSet, world.prompt_set_id),
            priority=priority,
            labels={},
        )
        return create_job(session, project, project, new, world.settings).id


def claims(world: World, count: int, warm: str | None = None) -> list[tuple[str, str]]:
    """(project, model) of the next claims."""
    held = [claim_step(world.engine, f"worker:{n}", 60, warm) for n in range(count)]
    return [(one.project_id, one.model_id) for one in held if one is not None]


def test_workers_are_shared_evenly_between_projects(world: World) -> None:
    """One has queued ten jobs before the other one's only job."""
    for _ in range(10):
        submit(world, "many")
    submit(world, "few")
    taken = Counter(project for project, _ in claims(world, 8))
    assert taken == {"many": 4, "few": 4}


def test_a_higher_priority_goes_first_within_a_project(world: World) -> None:
    submit(world, "one")
    urgent = submit(world, "one", priority=5)
    held = claim_step(world.engine, "worker:1", 60)
    assert held is not None
    assert held.job_id == urgent


@pytest.mark.parametrize("warm", ["model-a", "model-b"])
def test_a_worker_prefers_the_model_that_it_holds(world: World, warm: str) -> None:
    for model in ("model-a", "model-b"):
        submit(world, "one", model=model)
    assert claims(world, 2, warm) == [("one", warm)] * 2


def test_a_model_that_was_just_loaded_goes_before_a_project_that_has_waited_long(world: World) -> None:
    """Loading has taken longer than patience lasts: without this each step would load the other model."""
    submit(world, "warm", model="model-a")
    submit(world, "cold", model="model-b")
    with transaction(world.engine) as session:
        session.execute(update(Project).values(served_at=clock(-90)))
        session.execute(update(Project).where(Project.id == "warm").values(served_at=clock()))
    taken = []
    for number, sticks in enumerate((True, False)):
        held = claim_step(world.engine, f"worker:{number}", 60, "model-a", sticks=sticks)
        assert held is not None
        taken.append(held.model_id)
        with transaction(world.engine) as session:
            release_step(session, held)
    assert taken == ["model-a", "model-b"]


def test_a_higher_priority_goes_before_a_model_that_was_just_loaded(world: World) -> None:
    submit(world, "one", model="model-a")
    submit(world, "one", model="model-b", priority=5)
    held = claim_step(world.engine, "worker:1", 60, "model-a", sticks=True)
    assert held is not None
    assert held.model_id == "model-b"


def test_a_project_that_has_waited_long_goes_before_the_warm_model(world: World) -> None:
    submit(world, "warm", model="model-a")
    submit(world, "cold", model="model-b")
    with transaction(world.engine) as session:
        served = update(Project).where(Project.id == "warm").values(served_at=clock())
        session.execute(served)
        session.execute(update(Project).where(Project.id == "cold").values(served_at=clock(-30)))
    first = claim_step(world.engine, "worker:1", 60, "model-a", patience_seconds=60)
    assert first is not None
    assert first.project_id == "warm"
    with transaction(world.engine) as session:
        session.execute(update(Step).where(Step.id == first.step_id).values(status="succeeded"))
    second = claim_step(world.engine, "worker:1", 60, "model-a", patience_seconds=10)
    assert second is not None
    assert second.project_id == "cold"


def test_projects_take_turns_on_one_worker(world: World) -> None:
    for project in ("a", "b", "c"):
        submit(world, project)
    turns = []
    for _ in range(6):
        held = claim_step(world.engine, "worker:1", 60)
        assert held is not None
        turns.append(held.project_id)
        with transaction(world.engine) as session:
            session.execute(update(Step).where(Step.id == held.step_id).values(status="succeeded"))
    assert sorted(turns[:3]) == sorted(turns[3:]) == ["a", "b", "c"]
