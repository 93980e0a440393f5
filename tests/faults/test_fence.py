"""A worker that was stopped for longer than its lease changes nothing when it wakes up."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from app.database import reading
from app.ledger.platform.counters import counters
from tests.factories import World
from tests.faults.checker import check
from tests.faults.conftest import quick_world
from tests.platforms import Platform, platform, wait_until
from worker.embedded import CELERY

UNFENCED = tuple(word.replace("worker.celery", "tests.faults.unfenced") for word in CELERY)


def stop_beyond_the_lease(running: Platform, world: World, command: tuple[str, ...]) -> str:
    """The first worker stops just before it records an adapter; the second takes over, and then it wakes."""
    running.scheduler()
    running.worker("first", command, STAR_FAILPOINTS="train.before_record=stop")
    job_id = world.submit(iterations=1)
    stopped = running.fired / "train.before_record"
    wait_until(stopped.exists, "the first worker stands still")
    running.worker("second", command, STAR_FAILPOINTS="train.before_training=delay:12")
    wait_until((running.fired / "train.before_training").exists, "the second worker has taken over")
    wait_until(stopped.read_text, "its process id is written")
    os.kill(int(stopped.read_text()), signal.SIGCONT)
    running.wait_for(job_id, "succeeded")
    return job_id


def test_a_stopped_worker_changes_nothing_when_it_wakes(
    database_url: str, empty_valkey_url: str, tmp_path: Path
) -> None:
    world = quick_world(database_url, tmp_path / "home")
    with platform(world, empty_valkey_url) as running:
        stop_beyond_the_lease(running, world, CELERY)
        check(world, platform=running)
    with reading(world.engine) as session:
        assert counters(session)["fence_rejections"] >= 1


def test_without_the_fence_the_checker_finds_the_intruder(
    sqlite_database_url: str, empty_valkey_url: str, tmp_path: Path
) -> None:
    """The mutation test: it shows that the test above can fail."""
    world = quick_world(sqlite_database_url, tmp_path / "home")
    with platform(world, empty_valkey_url) as running:
        stop_beyond_the_lease(running, world, UNFENCED)
        with pytest.raises(AssertionError, match="was finished under fence"):
            check(world, platform=running)
