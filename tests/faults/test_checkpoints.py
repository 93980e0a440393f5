"""A training goes on on another machine where the first one died."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.checker import check
from tests.faults.conftest import quick_world
from tests.faults.test_stopping import LONG_TRAINING, PLACES, steps_trained
from tests.platforms import platform, wait_until


@pytest.mark.parametrize(
    "point",
    [
        "checkpoint.before_record=kill@10",
        pytest.param("checkpoint.after_record=kill@10", marks=pytest.mark.long),
    ],
)
def test_training_goes_on_on_another_machine_where_the_first_one_died(
    point: str, sqlite_database_url: str, empty_valkey_url: str, tmp_path: Path
) -> None:
    world = quick_world(sqlite_database_url, tmp_path / "home", **PLACES["train"])
    with platform(world, empty_valkey_url) as running:
        running.scheduler()
        running.worker("first", STAR_FAILPOINTS=point.replace("=kill", "=kill-worker"))
        job_id = world.submit(iterations=1, training=LONG_TRAINING)
        wait_until((running.fired / point.partition("=")[0]).exists, "the first machine dies")
        running.worker("second")  # its own folder: it has none of the first one's checkpoints
        running.wait_for(job_id, "succeeded")
        check(world, platform=running)
    assert 40 <= steps_trained(world) <= 45
