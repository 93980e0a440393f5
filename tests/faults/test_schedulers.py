"""A scheduler that is killed, fails or is stopped at any boundary is replaced by the next one."""

from __future__ import annotations

from itertools import product

import pytest

from tests.factories import World
from tests.faults.boundaries import Action, Sleepers
from tests.faults.checker import check
from tests.platforms import platform, wait_until

POINTS = ("outbox.before_publish", "outbox.after_publish", "reap.before_commit")


QUICK = ("outbox.after_publish", "sqlite_world", "kill")
CASES = [
    pytest.param(*case, marks=[] if case == QUICK else pytest.mark.long)
    for case in product(POINTS, ("sqlite_world", "postgresql_world"), ("kill", "raise", "stop"))
]


@pytest.mark.parametrize(("point", "database", "action"), CASES)
def test_scheduler_that_breaks_is_replaced_by_the_next_one(
    point: str, database: str, action: Action, request: pytest.FixtureRequest, empty_valkey_url: str
) -> None:
    world: World = request.getfixturevalue(database)
    with platform(world, empty_valkey_url) as running:
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
