"""kill -9 of a worker at the boundaries of each phase delays the job, and loses and doubles nothing."""

from __future__ import annotations

import pytest

from tests.faults.checker import check
from tests.platforms import platform, wait_until
from tests.worlds import World

BOUNDARIES = {
    "baselines": ("before_record=kill", "after_record=kill@2", "before_finish=kill", "after_finish=kill"),
    "sample": ("before_record=kill", "after_record=kill@2", "before_finish=kill", "after_finish=kill"),
    "build": ("before_finish=kill", "after_finish=kill"),
    "train": ("before_training=kill", "step=kill@2", "before_record=kill", "before_finish=kill"),
    "verify_adapter": ("after_probe=kill", "before_record=kill", "before_finish=kill", "after_finish=kill"),
    "evaluate": ("before_record=kill", "after_record=kill@2", "before_finish=kill", "after_finish=kill"),
}
OUTSIDE = ("claim.before_commit=kill@2", "claim.after_commit=kill@3", "heartbeat.before_commit=kill@2")


def survives(world: World, broker_url: str, *failpoints: str, config: dict[str, object]) -> None:
    """Run a job in which the one worker dies at each of these points once, and check everything."""
    with platform(world, broker_url) as running:
        running.scheduler()
        running.worker(STAR_FAILPOINTS=",".join(failpoints))
        job_id = world.submit(**config)
        running.wait_for(job_id, "succeeded", seconds=280)
        check(world, platform=running)
        assert {path.name for path in running.fired.iterdir()} == {
            one.partition("=")[0] for one in failpoints
        }


@pytest.mark.parametrize("phase", BOUNDARIES)
def test_worker_killed_in_each_phase_delays_the_job_only(
    phase: str, sqlite_world: World, empty_valkey_url: str
) -> None:
    points = [f"{phase}.{boundary}" for boundary in BOUNDARIES[phase]]
    survives(sqlite_world, empty_valkey_url, *points, config={"iterations": 1})


def test_worker_killed_in_every_phase_on_postgresql(postgresql_world: World, empty_valkey_url: str) -> None:
    """One kill in each phase of one job, and one between claim and work."""
    points = [f"{phase}.{boundaries[0]}" for phase, boundaries in BOUNDARIES.items()]
    survives(postgresql_world, empty_valkey_url, *points, OUTSIDE[1], config={"iterations": 1})


@pytest.mark.long
@pytest.mark.parametrize("phase", BOUNDARIES)
def test_worker_killed_in_each_phase_on_postgresql_delays_the_job_only(
    phase: str, postgresql_world: World, empty_valkey_url: str
) -> None:
    points = [f"{phase}.{boundary}" for boundary in BOUNDARIES[phase]]
    survives(postgresql_world, empty_valkey_url, *points, config={"iterations": 1})


@pytest.mark.long
@pytest.mark.parametrize("point", [*OUTSIDE, "storage.before_rename=kill", "storage.after_rename=kill@2"])
def test_worker_killed_between_phases_or_in_storage(point: str, world: World, empty_valkey_url: str) -> None:
    survives(world, empty_valkey_url, point, config={"iterations": 1})


def test_kill_9_of_the_celery_parent_takes_the_gpu_process_along_and_another_worker_goes_on(
    sqlite_world: World, empty_valkey_url: str
) -> None:
    world = sqlite_world
    with platform(world, empty_valkey_url) as running:
        running.scheduler()
        running.worker("first", STAR_FAILPOINTS="sample.after_record=delay:60")
        job_id = world.submit(iterations=1)
        wait_until((running.fired / "sample.after_record").exists, "the first worker samples")
        assert len(running.gpu_processes()) == 1
        running.kill("first")
        wait_until(lambda: not running.gpu_processes(), "the GPU process dies with its worker", 20)
        running.worker("second")
        running.wait_for(job_id, "succeeded")
        check(world, platform=running)


@pytest.mark.parametrize(
    "point", ["outbox.before_publish=kill", "outbox.after_publish=kill", "reap.before_commit=kill"]
)
def test_scheduler_killed_is_replaced_by_the_next_one(
    point: str, sqlite_world: World, empty_valkey_url: str
) -> None:
    world = sqlite_world
    with platform(world, empty_valkey_url) as running:
        running.scheduler("first", STAR_FAILPOINTS=point)
        running.worker(STAR_FAILPOINTS="sample.before_record=kill")
        job_id = world.submit(iterations=1)
        assert running.parts.pop("first").wait(timeout=120) == 128 + 9
        running.scheduler("second")
        running.wait_for(job_id, "succeeded")
        check(world, platform=running)
