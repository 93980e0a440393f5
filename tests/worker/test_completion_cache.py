"""What one job has answered costs the next one no GPU time: through the ledger and real GPU processes."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from app.database import new_id, reading, transaction
from app.ledger.jobs.forks import ForkPoint
from app.ledger.jobs.relations import baselines_of
from app.ledger.queue.steps import claim_step
from app.tables.data import Model
from app.tables.jobs import Iteration, Job
from app.tables.platform import Project
from app.tables.rationales import Evaluation, Rationale
from tests.factories import MODEL, World, make_world
from tests.faults.checker import check
from worker.shared_calls import work_on

OFF = {"enabled": False}


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> World:
    """Its model has files, so that two answers can be known to be of one model."""
    world = make_world(database_url, tmp_path / "home")
    weights = b"weights"
    (world.settings.home / "model" / "weights").write_bytes(weights)
    with transaction(world.engine) as session:
        session.execute(update(Model).values(files={"weights": sha256(weights).hexdigest()}))
    return world


def run(world: World, **changes: Any) -> tuple[str, bool]:
    """Run a job to its end. Returns its id and whether a GPU process was ever needed."""
    bench = world.worker_context()
    job_id = world.submit(**changes)
    try:
        while (claim := claim_step(bench.engine, bench.worker_id, 60)) is not None:
            work_on(bench, claim)
        assert world.job(job_id).status == "succeeded", world.job(job_id).status_reason
        return job_id, bench.warm_model is not None
    finally:
        bench.drop_gpu()


def reused(world: World, job_id: str) -> dict[int, dict[str, int]]:
    with reading(world.engine) as session:
        query = select(Iteration.number, Iteration.metrics).where(Iteration.job_id == job_id)
        return {number: metrics["reused"] for number, metrics in session.execute(query)}


def tries(world: World, job_id: str) -> set[tuple[Any, ...]]:
    columns = (
        Rationale.iteration_number, Rationale.example_id, Rationale.route, Rationale.text, Rationale.verdict,
        Rationale.extracted, Rationale.tokens, Rationale.finish_reason, Rationale.decision, Rationale.reason,
    )  # fmt: skip
    with reading(world.engine) as session:
        return {tuple(row) for row in session.execute(select(*columns).where(Rationale.job_id == job_id))}


def test_the_same_job_again_samples_nothing_and_records_the_same(world: World) -> None:
    first, _ = run(world)
    asked = reused(world, first)
    assert (asked[0], asked[1]) == ({"baselines": 0}, {"sample": 0, "evaluate": 0})
    assert asked[2] == {"sample": 0, "evaluate": 0}
    again, _ = run(world)
    assert tries(world, again) == tries(world, first)
    assert reused(world, again)[0] == {"baselines": 16}
    assert reused(world, again)[1]["evaluate"] == 8
    with reading(world.engine) as session:
        rows = select(Rationale.reused).where(Rationale.job_id == again)
        assert set(session.scalars(rows)) == {True}
        answers = select(Evaluation.reused).join(Iteration, Iteration.id == Evaluation.iteration_id)
        assert set(session.scalars(answers.where(Iteration.job_id == again))) == {True}
    check(world)


def test_baselines_on_record_load_no_model(world: World) -> None:
    _, loaded = run(world, baselines_only=True)
    assert loaded
    _, loaded = run(world, baselines_only=True)
    assert not loaded


def test_nothing_of_another_project_is_reused(world: World) -> None:
    first, _ = run(world, baselines_only=True)
    with transaction(world.engine) as session:
        stranger = Project(id=new_id("proj"), name="stranger")
        session.add(stranger)
        session.flush()
        session.execute(update(Job).where(Job.id == first).values(project_id=stranger.id))
    second, loaded = run(world, baselines_only=True)
    assert loaded
    assert reused(world, second) == {0: {"baselines": 0}}


def test_where_the_model_is_not_pinned_nothing_is_reused(world: World) -> None:
    with transaction(world.engine) as session:
        session.execute(update(Model).where(Model.id == MODEL).values(files={}))
    run(world, baselines_only=True)
    second, _ = run(world, baselines_only=True)
    assert reused(world, second) == {0: {"baselines": 0}}


def test_a_fork_samples_only_what_its_settings_changed(world: World) -> None:
    source, _ = run(world)
    with reading(world.engine) as session:
        by_route = select(Rationale.route).where(Rationale.job_id == source, Rationale.iteration_number == 2)
        asked = len(session.scalars(by_route).all())
    made, _ = run(world, fork=ForkPoint(source, 1), training_set={"filters": []})
    assert reused(world, made)[2]["sample"] == asked
    check(world)


def test_a_baseline_beside_a_job_asks_the_base_model_nothing_again(world: World) -> None:
    job_id, _ = run(world, iterations=1, beside={"star-without-rationalization": {"rationalization": OFF}})
    with reading(world.engine) as session:
        [baseline] = baselines_of(session, job_id)
    assert world.job(baseline.id).status == "succeeded"
    asked = reused(world, baseline.id)
    assert (asked[0], asked[1]["sample"]) == ({"baselines": 16}, 16)
    check(world)
