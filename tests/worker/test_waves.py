"""AdaSTaR through `run_star` and through the service: whoever samples, the same examples are selected."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import select

from app.database import reading, transaction
from app.ledger.data.examples import load_examples
from app.ledger.data.prompt_sets import as_prompt_set
from app.ledger.jobs.forks import ForkPoint
from app.ledger.jobs.jobs import pause_job, resume_job
from app.ledger.queue.steps import claim_step
from app.tables.data import PromptSet
from app.tables.jobs import Iteration, Step
from app.tables.rationales import Rationale
from app.tables.statuses import StepStatus
from star_engine.adapters.layout import BaseModel
from star_engine.config.star import StarConfig
from star_engine.data.adaptive import selected_from
from star_engine.run import run_star
from star_engine.run_directory import RunDirectory
from star_engine.testing.fakes import RecordingTrainer, Script, ScriptedSampler
from tests.factories import CONFIG, MODEL, TRAIN, VALIDATION, World, make_world, pupil
from tests.wavering import SCRIPT, wavering
from worker.steps import work_alone

SETTINGS: dict[str, Any] = {
    "seed": 3,
    "iterations": 3,
    "selection": {"order": "adaptive", "rows": 6},
    "rationalization": {"enabled": False},
    "training_set": {"filters": [], "window": "all"},
    "evaluation": {"baselines": ["few_shot_cot"], "max_examples": 4},
}


def library(
    world: World, folder: Path, settings: dict[str, Any], script: Callable[[], Script] = pupil
) -> RunDirectory:
    """The same job in one process."""
    with reading(world.engine) as session:
        prompt_set = as_prompt_set(session.get_one(PromptSet, world.prompt_set_id))
        train = [e for _, e in load_examples(session, world.dataset_id, "train", range(TRAIN))]
        held_out = [e for _, e in load_examples(session, world.dataset_id, "validation", range(VALIDATION))]
    config = StarConfig.model_validate({**CONFIG, **settings})
    sampler, trainer = ScriptedSampler(script()), RecordingTrainer(script())
    events = run_star(config, train, held_out, prompt_set, sampler, trainer, folder, base=BaseModel(MODEL))
    assert list(events)[-1].name == "stopped"
    return RunDirectory(folder)


def work_in_any_order(world: World, seed: int) -> None:
    """Three workers: each claims a step, then they work in an order drawn by the seed."""
    drawn = random.Random(seed)
    workers = [world.worker_context(f"worker:{n}") for n in range(3)]
    try:
        while claims := [
            (worker, claim)
            for worker in workers
            if (claim := claim_step(world.engine, worker.worker_id, 60)) is not None
        ]:
            drawn.shuffle(claims)
            for worker, claim in claims:
                work_alone(worker, claim)
    finally:
        for worker in workers:
            worker.drop_gpu()


def test_workers_in_any_order_select_and_train_as_one_process_does(database_url: str, tmp_path: Path) -> None:
    world = make_world(database_url, tmp_path / "home", shard_examples=2)
    job_id = world.submit(**SETTINGS)
    work_in_any_order(world, seed=1)
    assert world.job(job_id).status == "succeeded", world.job(job_id).status_reason
    directory = library(world, tmp_path / "run", SETTINGS)
    with reading(world.engine) as session:
        iterations = session.scalars(
            select(Iteration).where(Iteration.job_id == job_id, Iteration.number > 0)
        ).all()
        for one in iterations:
            assert one.selection is not None
            assert selected_from(one.selection) == directory.selection(one.number)
            metrics = directory.metrics()[one.number]
            assert one.training_set_sha256 == metrics["training_set_sha256"]
            for name in ("selection", "solve_rate", "coverage", "kept", "dropped", "funnel", "sampled"):
                assert one.metrics[name] == metrics[name], name
        waves = session.scalars(
            select(Step).where(Step.job_id == job_id, Step.phase == "sample", Step.iteration_number == 1)
        ).all()
    asked = [one.metrics["selection"]["asked"] for one in iterations]
    assert max(asked) > 8, "one of them took a second wave"
    assert sorted(one.shard for one in waves) == list(range(len(waves)))


def test_tries_beyond_the_rows_are_recorded_and_not_trained_on(database_url: str, tmp_path: Path) -> None:
    world = make_world(database_url, tmp_path / "home", shard_examples=4)
    settings = {"iterations": 1, "selection": {"order": "adaptive", "rows": 3}, "rationalization": {}}
    job_id = world.submit(**{**SETTINGS, **settings})
    work_in_any_order(world, 0)
    with reading(world.engine) as session:
        iteration = session.scalars(
            select(Iteration).where(Iteration.job_id == job_id, Iteration.number == 1)
        ).one()
        selected = selected_from(iteration.selection or {})
        reasons = session.scalars(select(Rationale.reason).where(Rationale.job_id == job_id)).all()
    assert iteration.metrics["selection"]["rows"] >= 3
    assert len(selected.surplus) > 0
    assert reasons.count("surplus") == sum(selected.outcomes[at].rows for at in selected.surplus)
    assert reasons.count("kept") == iteration.metrics["selection"]["rows"]
    assert None not in reasons


def test_a_job_that_is_paused_between_waves_goes_on_with_the_same(database_url: str, tmp_path: Path) -> None:
    world = make_world(database_url, tmp_path / "home", shard_examples=8)
    job_id = world.submit(**{**SETTINGS, "selection": {"order": "adaptive", "rows": 15}})
    worker = world.worker_context()
    paused = False
    while claim := claim_step(world.engine, worker.worker_id, 60):
        if claim.phase == "sample" and not paused:
            with transaction(world.engine) as session:
                pause_job(session, world.job(job_id))
            paused = True
        work_alone(worker, claim)
    worker.drop_gpu()
    assert world.job(job_id).status == "paused"
    with reading(world.engine) as session:
        held = select(Step.phase).where(Step.job_id == job_id, Step.status == StepStatus.HELD)
        assert set(session.scalars(held)) == {"sample"}
    with transaction(world.engine) as session:
        resume_job(session, world.job(job_id), world.settings)
    work_in_any_order(world, 1)
    assert world.job(job_id).status == "succeeded"


BY_DIFFICULTY: dict[str, Any] = {
    "seed": 3,
    "selection": {"order": "hard_first", "rows": 8},
    "generation": {"max_tokens": 400, "samples_per_example": 2, "temperature": 0.7},
    "rationalization": {"min_failures": 2},
    "training_set": {"filters": [], "window": "all", "max_per_solution": 1},
    "evaluation": {"baselines": ["few_shot_cot"], "max_examples": 4},
    "audits": {"spark_level": None},
}


def test_workers_and_forks_ask_by_difficulty_and_hint_the_hardest_alike(
    database_url: str, tmp_path: Path
) -> None:
    world = make_world(database_url, tmp_path / "home", shard_examples=3, sampler_script=SCRIPT)
    job_id = world.submit(**BY_DIFFICULTY)
    work_in_any_order(world, seed=1)
    assert world.job(job_id).status == "succeeded", world.job(job_id).status_reason
    directory = library(world, tmp_path / "run", BY_DIFFICULTY, wavering)
    forked = world.submit(**BY_DIFFICULTY, fork=ForkPoint(job_id, 1))
    work_in_any_order(world, seed=2)
    with reading(world.engine) as session:
        for name in (job_id, forked):
            query = select(Iteration).where(Iteration.job_id == name, Iteration.number == 2)
            second = session.scalars(query).one()
            assert selected_from(second.selection or {}) == directory.selection(2)
            assert second.training_set_sha256 == directory.metrics()[2]["training_set_sha256"]
            assert second.metrics["sampled"] == directory.metrics()[2]["sampled"]
