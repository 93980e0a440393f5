"""A whole job through real Celery workers, a real scheduler and a real broker."""

from __future__ import annotations

from pathlib import Path

from tests.faults.checker import check
from tests.platforms import platform
from tests.worlds import make_world


def test_a_celery_worker_runs_a_whole_job(database_url: str, empty_valkey_url: str, tmp_path: Path) -> None:
    world = make_world(database_url, tmp_path / "home")
    with platform(world, empty_valkey_url) as running:
        running.scheduler()
        running.worker()
        job_id = world.submit()
        running.wait_for(job_id, "succeeded")
        check(world, platform=running)
    assert world.job(job_id).stop_reason == "completed_iterations"


def test_two_workers_and_two_schedulers_share_one_job(
    database_url: str, empty_valkey_url: str, tmp_path: Path
) -> None:
    world = make_world(
        database_url, tmp_path / "home", shard_examples=2, sampler_script="tests.worlds:slow_pupil"
    )
    with platform(world, empty_valkey_url) as running:
        for number in (1, 2):
            running.scheduler(f"scheduler-{number}")
            running.worker(f"worker-{number}")
        job_id = world.submit(iterations=1)
        running.wait_for(job_id, "succeeded")
        check(world, platform=running)
        started = [event["log"] for event in running.log_events() if event["event"] == "step_started"]
    assert {*started} == {"worker-1", "worker-2"}
    assert len(started) == world.step_count(job_id)  # no step was worked on twice
