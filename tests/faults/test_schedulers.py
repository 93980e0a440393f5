"""A scheduler that is killed, fails or is stopped at any boundary is replaced by the next one."""

from __future__ import annotations

import pytest

from tests.faults.boundaries import Action, Sleepers
from tests.faults.checker import check
from tests.platforms import platform, wait_until
from tests.worlds import World

POINTS = ("outbox.before_publish", "outbox.after_publish", "reap.before_commit")


def replaced(world: World, broker_url: str, point: str, action: Action) -> None:
    with platform(world, broker_url) as running:
        running.scheduler("first", STAR_FAILPOINTS=f"{point}={action}")
        running.worker(STAR_FAILPOINTS="sample.before_record=kill")
        job_id = world.submit(iterations=1)
        wait_until((running.fired / point).exists, "the first scheduler breaks")
        if action != "stop":
            assert running.parts.pop("first").wait(timeout=120) == (128 + 9 if action == "kill" else 1)
        running.scheduler("second")
        sleepers = Sleepers(running)
        running.wait_for(job_id, "succeeded", meanwhile=sleepers.wake)
        wait_until(sleepers.wake, "who was stopped is awake again")
        if action == "stop":
            assert running.stop("first") == 0, "it goes on, and obeys"
        check(world, platform=running)


@pytest.mark.parametrize("point", POINTS)
def test_scheduler_killed_is_replaced_by_the_next_one(
    point: str, sqlite_world: World, empty_valkey_url: str
) -> None:
    replaced(sqlite_world, empty_valkey_url, point, "kill")


@pytest.mark.long
@pytest.mark.parametrize("action", ["kill", "raise", "stop"])
@pytest.mark.parametrize("point", POINTS)
def test_scheduler_broken_is_replaced_by_the_next_one(
    point: str, action: Action, world: World, empty_valkey_url: str
) -> None:
    replaced(world, empty_valkey_url, point, action)
