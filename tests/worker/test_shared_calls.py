"""Steps that ask the same adapter share a call of the sampler: each records what it would record alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.database import reading
from app.ledger.queue.steps import Claim, claim_step
from app.tables.jobs import Step
from app.tables.usage import Usage
from tests.factories import World, make_world
from tests.faults.checker import check
from tests.worker.test_worker_counts import (
    answers,
    benches,
    signing_pupil,
    training_sets,
    tries,
    work_together,
)
from worker.shared_calls import work_on

SCRIPT = "tests.worker.test_shared_calls:signing_pupil"
__all__ = ["signing_pupil"]  # what SCRIPT names


def one_worker(world: World) -> str:
    """The id of a job that one worker has done."""
    job_id = world.submit()
    with benches(world, f"of-{job_id}", 1) as workers:
        work_together(workers)
    assert world.job(job_id).status == "succeeded", world.job(job_id).status_reason
    return job_id


def done(world: World, job_id: str) -> list[Step]:
    with reading(world.engine) as session:
        return list(session.scalars(select(Step).where(Step.job_id == job_id).order_by(Step.started_at)))


def overlapping(steps: list[Step]) -> set[tuple[str, str]]:
    """The phases of steps that were worked on at the same time."""
    pairs: Iterator[Any] = product(steps, steps)
    return {
        (f"{one.phase} {one.iteration_number}", f"{other.phase} {other.iteration_number}")
        for one, other in pairs
        if one.id != other.id and one.started_at <= other.started_at < one.finished_at
    }


def test_shared_calls_record_what_one_step_after_the_other_records(database_url: str, tmp_path: Path) -> None:
    world = make_world(
        database_url, tmp_path / "home", sampler_script=SCRIPT, shard_examples=4, pipeline=True
    )
    in_turn = replace(world, settings=world.settings.model_copy(update={"pipeline": False}))
    shared, serial = one_worker(world), one_worker(in_turn)
    assert ("evaluate 1", "sample 2") in overlapping(done(world, shared))
    assert ("sample 1", "sample 1") in overlapping(done(world, shared))
    assert overlapping(done(world, serial)) == set()
    assert tries(world, shared) == tries(world, serial) != []
    assert training_sets(world, shared) == training_sets(world, serial) != []
    assert answers(world, shared) == answers(world, serial) != []
    check(world)


@pytest.mark.parametrize("action", ["raise", "kill"])
def test_a_failure_is_one_steps_own_and_the_others_go_on_where_they_were(
    action: str, sqlite_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The GPU process breaks while three shards share the call: one has failed."""
    monkeypatch.setenv("STAR_FAILPOINTS", f"gpu.answer={action}")
    monkeypatch.setenv("STAR_FAILPOINTS_FIRED", str(tmp_path))
    monkeypatch.setenv("UNDER_TEST_HOME", str(tmp_path))
    joined = []

    def join(*place: Any, **wishes: Any) -> Claim | None:
        if (claim := claim_step(*place, **wishes)) is not None:
            joined.append(claim)
            if len(joined) == 2:
                (tmp_path / "shared").touch()
        return claim

    monkeypatch.setattr("worker.tracing.claims.claim_step", join)
    world = make_world(
        sqlite_database_url,
        tmp_path / "home",
        sampler_script="tests.faults.scripted_models:pupil_broken_in_company",
        record_batch=2,
        pipeline=True,
    )
    job_id = world.submit(iterations=1, evaluation={"baselines": ()})
    bench = world.worker_context()
    try:
        while (claim := claim_step(bench.engine, bench.worker_id, 60, bench.warm_model)) is not None:
            work_on(bench, claim)
    finally:
        bench.drop_gpu()
    assert world.job(job_id).status == "succeeded", world.job(job_id).status_reason
    sampling = [step for step in done(world, job_id) if step.phase == "sample"]
    assert sorted(step.attempt for step in sampling) == [1, 1, 2]
    with reading(world.engine) as session:
        ends = Counter(session.scalars(select(Usage.outcome).where(Usage.phase == "sample")))
    assert (ends["failed"], ends["succeeded"]) == (1, 3)
    assert ends["handed_back"] == 2
    check(world)
