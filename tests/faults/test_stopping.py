"""Drain, cancel and pause reach a worker wherever it is, and stop the GPU's work within 30 s."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.database import reading, transaction
from app.ledger.jobs.jobs import cancel_job, get_job, pause_job, resume_job
from app.tables.jobs import Step
from tests.factories import World, make_world
from tests.faults.checker import check
from tests.faults.conftest import quick_world
from tests.platforms import Platform, platform, wait_until

MAX_SECONDS = 30.0
PLACES: dict[str, dict[str, Any]] = {
    "load": {"sampler_script": "tests.faults.scripted_models:slow_to_load"},
    "sample": {"sampler_script": "tests.factories:slow_pupil", "shard_examples": 16},
    "train": {"sampler_options": {"before_step": "tests.faults.scripted_models:slow_step"}},
}
LONG_TRAINING = {
    "schedule": {"kind": "linear", "start": 40, "add": 1},
    "batch_size": 4,
    "checkpoint_every": 1,
}


def start(world: World, running: Platform, place: str) -> str:
    """Submit a job and wait until it is in the middle of this place."""
    running.scheduler()
    running.worker()
    job_id = world.submit(iterations=1, training=LONG_TRAINING)
    there = {
        "load": (world.settings.home / "loading").exists,
        "sample": lambda: world.tries() >= 4,
        "train": lambda: steps_trained(world) >= 3,
    }
    wait_until(there[place], f"the job is in {place}")
    return job_id


def steps_trained(world: World) -> int:
    path = world.settings.home / "training-steps"
    return len(path.read_text().splitlines()) if path.exists() else 0


def pids(running: Platform) -> set[int]:
    return {process.pid for process in running.gpu_processes()}


def expect_free(running: Platform, place: str, warm: set[int], seconds: float) -> None:
    """A process that was still loading is killed; one that works stops, and stays warm for others."""
    if place == "load":
        wait_until(lambda: not running.gpu_processes(), "the GPU is free", seconds)
    else:
        assert pids(running) == warm


def ask(world: World, job_id: str, verb: str) -> None:
    with transaction(world.engine) as session:
        job = get_job(session, world.project_id, job_id)
        if verb == "resume":
            resume_job(session, job, world.settings)
        else:
            {"cancel": cancel_job, "pause": pause_job}[verb](session, job)


@pytest.mark.parametrize("place", ["load", pytest.param("sample", marks=pytest.mark.long), "train"])
def test_a_cancelled_job_frees_the_gpu(
    place: str, sqlite_database_url: str, empty_valkey_url: str, tmp_path: Path
) -> None:
    world = quick_world(sqlite_database_url, tmp_path / "home", **PLACES[place])
    with platform(world, empty_valkey_url) as running:
        job_id = start(world, running, place)
        began = time.monotonic()
        ask(world, job_id, "cancel")
        warm = pids(running)
        running.wait_for(job_id, "cancelled", seconds=MAX_SECONDS)
        expect_free(running, place, warm, began + MAX_SECONDS - time.monotonic())
        check(world, platform=running)


@pytest.mark.parametrize("place", [pytest.param("sample", marks=pytest.mark.long), "train"])
def test_a_paused_job_goes_on_where_it_was(
    place: str, sqlite_database_url: str, empty_valkey_url: str, tmp_path: Path
) -> None:
    world = quick_world(sqlite_database_url, tmp_path / "home", **PLACES[place])
    with platform(world, empty_valkey_url) as running:
        job_id = start(world, running, place)
        ask(world, job_id, "pause")
        warm = pids(running)
        running.wait_for(job_id, "paused", seconds=MAX_SECONDS)
        expect_free(running, place, warm, MAX_SECONDS)
        check(world, platform=running)
        recorded, trained = world.tries(), steps_trained(world)
        ask(world, job_id, "resume")
        running.wait_for(job_id, "succeeded")
        check(world, platform=running)
    assert recorded <= world.tries()
    if place == "train":
        assert 40 <= steps_trained(world) <= 42, f"{trained} steps were trained before"  # one is repeated


@pytest.mark.parametrize(
    ("database", "place"),
    [
        ("sqlite", "sample"),
        pytest.param("postgresql", "train", marks=pytest.mark.long),
        pytest.param("sqlite", "train", marks=pytest.mark.long),
        pytest.param("postgresql", "sample", marks=pytest.mark.long),
    ],
)
def test_a_worker_that_is_told_to_end_hands_its_step_back(
    database: str, place: str, request: pytest.FixtureRequest, empty_valkey_url: str, tmp_path: Path
) -> None:
    """With the default lease of 60 s: nothing here waits for one to run out."""
    url: str = request.getfixturevalue(f"{database}_database_url")
    world = make_world(url, tmp_path / "home", record_batch=2, scheduler_seconds=0.2, **PLACES[place])
    with platform(world, empty_valkey_url) as running:
        job_id = start(world, running, place)
        began = time.monotonic()
        assert running.stop("worker") == 0
        assert time.monotonic() - began < MAX_SECONDS
        assert not running.gpu_processes()
        with reading(world.engine) as session:
            waiting = session.scalars(select(Step).where(Step.status == "queued")).all()
            assert session.scalars(select(Step).where(Step.status == "running")).all() == []
        assert {step.attempt for step in waiting} == {0}  # it does not count as a failure
        running.worker("next")
        running.wait_for(job_id, "succeeded")
        check(world, platform=running)
