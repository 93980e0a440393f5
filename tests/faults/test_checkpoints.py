"""A training goes on where it was, on another machine if the first one died."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from app.database import reading
from app.tables.rationales import TrainingCurve
from tests.faults.boundaries import Sleepers
from tests.faults.checker import check
from tests.faults.conftest import quick_world
from tests.faults.test_stopping import LONG_TRAINING, PLACES, steps_trained
from tests.platforms import platform, wait_until


@pytest.mark.parametrize(
    ("point", "action"),
    [
        ("checkpoint.before_record", "kill-worker"),
        pytest.param("checkpoint.after_record", "kill-worker", marks=pytest.mark.long),
        pytest.param("checkpoint.before_record", "stop", marks=pytest.mark.long),
        pytest.param("checkpoint.after_record", "stop", marks=pytest.mark.long),
        pytest.param("checkpoint.before_record", "raise", marks=pytest.mark.long),
        pytest.param("checkpoint.after_record", "raise", marks=pytest.mark.long),
    ],
)
def test_training_goes_on_where_it_was(
    point: str, action: str, sqlite_database_url: str, empty_valkey_url: str, tmp_path: Path
) -> None:
    world = quick_world(sqlite_database_url, tmp_path / "home", **PLACES["train"])
    with platform(world, empty_valkey_url) as running:
        running.scheduler()
        running.worker("first", STAR_FAILPOINTS=f"{point}={action}@10")
        job_id = world.submit(iterations=1, training=LONG_TRAINING)
        wait_until((running.fired / point).exists, "the first machine breaks")
        running.worker("second")  # its own folder: it has none of the first one's checkpoints
        sleepers = Sleepers(running)
        running.wait_for(job_id, "succeeded", meanwhile=sleepers.wake)
        wait_until(sleepers.wake, "who was stopped is awake again")
        check(world, platform=running)
    trained = steps_trained(world)
    assert trained >= 40
    if action != "stop":  # the GPU process of a worker that is stopped trains on, beside the next one's
        assert trained <= 45


@pytest.mark.long
def test_steps_that_the_killed_worker_was_not_told_of_are_trained_again(
    sqlite_database_url: str, empty_valkey_url: str, tmp_path: Path
) -> None:
    """The trainer goes on while its worker stands still, and leaves resume points on this machine."""
    world = quick_world(sqlite_database_url, tmp_path / "home", **PLACES["train"])
    with platform(world, empty_valkey_url) as running:
        running.scheduler()
        running.worker("first", STAR_FAILPOINTS="train.step=stop@5")
        job_id = world.submit(iterations=1, training=LONG_TRAINING)
        wait_until((running.fired / "train.step").exists, "the worker stands still")
        wait_until(lambda: steps_trained(world) >= 15, "its trainer goes on")
        gpu = running.gpu_processes()
        running.pool_child("first").kill()
        running.kill("first")
        for process in gpu:
            process.kill()
        running.worker("first")  # the same machine: its folder has the resume points
        running.wait_for(job_id, "succeeded")
        check(world, platform=running)
    with reading(world.engine) as session:
        [curve] = session.scalars(select(TrainingCurve))
        assert [row[0] for row in curve.steps] == list(range(1, 41))
