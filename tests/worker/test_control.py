"""B-STaR through `run_star` and through the service: the same temperature, and the probes are reused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from app.database import reading, transaction
from app.ledger.jobs.forks import ForkPoint
from app.ledger.jobs.jobs import pause_job, resume_job
from app.ledger.queue.steps import claim_step
from app.tables.jobs import Iteration, Step
from app.tables.rationales import Rationale
from app.tables.statuses import StepStatus
from star_engine.sampling.rationales import Route
from tests.factories import World, make_world
from tests.wavering import SCRIPT, wavering
from tests.worker.test_waves import library, work_in_any_order
from worker.steps import work_alone

SETTINGS: dict[str, Any] = {
    "seed": 3,
    "controller": {"temperatures": [0.5, 1.0], "probe_examples": 6},
    "generation": {"max_tokens": 400, "samples_per_example": 2},
    "training_set": {"filters": []},
    "evaluation": {"baselines": ["few_shot_cot"], "max_examples": 4},
}


def iterations(world: World, job_id: str) -> list[Iteration]:
    with reading(world.engine) as session:
        query = select(Iteration).where(Iteration.job_id == job_id, Iteration.number > 0)
        return list(session.scalars(query.order_by(Iteration.number)))


def test_workers_find_the_temperature_that_one_process_finds(database_url: str, tmp_path: Path) -> None:
    world = make_world(database_url, tmp_path / "home", shard_examples=3)
    job_id = world.submit(**SETTINGS)
    work_in_any_order(world, seed=1)
    assert world.job(job_id).status == "succeeded", world.job(job_id).status_reason
    directory = library(world, tmp_path / "run", SETTINGS)
    for one in iterations(world, job_id):
        metrics = directory.metrics()[one.number]
        assert one.phases_done[:2] == metrics["phases_done"][:2] == ["control", "sample"]
        assert one.metrics["control"] == metrics["control"]
        assert one.training_set_sha256 == metrics["training_set_sha256"]
        assert one.metrics["audits"]["exploration"] == metrics["audits"]["exploration"]
        assert (metrics["control"]["probed"], metrics["control"]["samples"]) == (6, 2)
    with reading(world.engine) as session:
        of_job = select(func.count()).where(Rationale.job_id == job_id, Rationale.iteration_number == 1)
        probes = session.scalar(of_job.where(Rationale.route == Route.PROBE))
        reused = session.scalar(of_job.where(Rationale.route == Route.GENERATED, Rationale.reused))
        decided = session.scalar(
            of_job.where(Rationale.route == Route.PROBE, Rationale.decision.is_not(None))
        )
        sampled = select(Step.work).where(Step.job_id == job_id, Step.phase == "sample")
        temperatures = {work["temperature"] for work in session.scalars(sampled)}
    assert (probes, reused, decided) == (2 * 6 * 2, 6 * 2, 0)
    taken_over = iterations(world, job_id)[0].metrics["reused"]
    assert (taken_over["control"], taken_over["sample"]) == (0, 6 * 2)
    assert temperatures == {one.metrics["control"]["temperature"] for one in iterations(world, job_id)}


def test_a_control_step_that_stopped_goes_on_with_the_probes_it_has(
    database_url: str, tmp_path: Path
) -> None:
    world = make_world(database_url, tmp_path / "home", record_batch=4)
    job_id = world.submit(**{**SETTINGS, "iterations": 1})
    stopped = 0

    def draining() -> bool:
        return not stopped and world.tries() > 0

    worker = replace(world.worker_context(), draining=draining)
    while claim := claim_step(world.engine, worker.worker_id, 60):
        work_alone(worker, claim)
        if claim.phase == "control":
            assert world.tries() in (4, 24)
            stopped += 1
    worker.drop_gpu()
    assert stopped == 2
    assert world.job(job_id).status == "succeeded", world.job(job_id).status_reason
    with reading(world.engine) as session:
        probes = session.scalar(select(func.count()).where(Rationale.route == Route.PROBE))
    assert probes == 24


SCORED: dict[str, Any] = {
    **SETTINGS,
    "controller": {
        "temperatures": [0.5, 1.0],
        "thresholds": [-1.0, 0.0, 0.95],
        "probe_examples": 4,
        "rows_wanted": 1,
        "scorer": "verifier",
    },
    "generation": {"max_tokens": 400, "samples_per_example": 3, "temperature": 0.7},
    "rationalization": {"enabled": False},
    "audits": {"spark_level": None},
    "trained_verifier": {
        "method": "yes_no",
        "when": "every_iteration",
        "schedule": {"kind": "fixed", "steps": 2},
    },
}


def facts(world: World, job_id: str) -> list[tuple[Any, ...]]:
    """What a job with rewards has come to in its second iteration, without ids of its own."""
    names = ("control", "kept", "dropped", "funnel")
    last = iterations(world, job_id)[-1]
    with reading(world.engine) as session:
        key = (Rationale.example_id, Rationale.route, Rationale.sample)
        rows = select(*key, Rationale.reward, Rationale.checks, Rationale.reason).order_by(*key)
        of_second = (Rationale.job_id == job_id, Rationale.iteration_number == 2)
        found = [tuple(row) for row in session.execute(rows.where(*of_second))]
    exploration = last.metrics["audits"]["exploration"]
    return [*((last.metrics[name],) for name in names), (last.training_set_sha256, exploration), *found]


def test_workers_and_forks_find_the_threshold_that_one_process_finds(
    database_url: str, tmp_path: Path
) -> None:
    world = make_world(database_url, tmp_path / "home", shard_examples=5, sampler_script=SCRIPT)
    job_id = world.submit(**SCORED)
    work_in_any_order(world, seed=1)
    assert world.job(job_id).status == "succeeded", world.job(job_id).status_reason
    metrics = library(world, tmp_path / "run", SCORED, wavering).metrics()[2]
    last = iterations(world, job_id)[-1]
    assert last.metrics["control"] == metrics["control"]
    assert metrics["control"]["threshold"] == 0.95
    assert metrics["dropped"]["generated"]["low_reward"] > 0
    assert last.training_set_sha256 == metrics["training_set_sha256"]
    assert last.metrics["audits"]["exploration"] == metrics["audits"]["exploration"]
    assert "rewarded" in metrics["audits"]["exploration"]
    with reading(world.engine) as session:
        work = select(Step.work).where(
            Step.job_id == job_id, Step.phase == "sample", Step.iteration_number == 2
        )
        assert {one["threshold"] for one in session.scalars(work)} == {0.95}
    forked = world.submit(**SCORED, fork=ForkPoint(job_id, 1))
    work_in_any_order(world, seed=2)
    assert facts(world, forked) == facts(world, job_id)


def test_a_job_that_is_paused_in_its_control_phase_samples_at_what_was_found(
    database_url: str, tmp_path: Path
) -> None:
    world = make_world(database_url, tmp_path / "home")
    job_id = world.submit(**{**SETTINGS, "iterations": 1})
    worker = world.worker_context()
    while claim := claim_step(world.engine, worker.worker_id, 60):
        if claim.phase == "control":
            with transaction(world.engine) as session:
                pause_job(session, world.job(job_id))
        work_alone(worker, claim)
    worker.drop_gpu()
    assert world.job(job_id).status == "paused"
    found = iterations(world, job_id)[0].metrics["control"]
    with reading(world.engine) as session:
        held = select(Step.phase, Step.work).where(Step.job_id == job_id, Step.status == StepStatus.HELD)
        waiting = session.execute(held).all()
    assert {phase for phase, _ in waiting} == {"sample"}
    assert {work["temperature"] for _, work in waiting} == {found["temperature"]}
    with transaction(world.engine) as session:
        resume_job(session, world.job(job_id), world.settings)
    work_in_any_order(world, seed=3)
    assert world.job(job_id).status == "succeeded", world.job(job_id).status_reason
    assert iterations(world, job_id)[0].metrics["control"] == found
