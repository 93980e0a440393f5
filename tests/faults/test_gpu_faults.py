"""The GPU process crashes, hangs, overflows or is poisoned; the worker and the other jobs go on."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from app.database import reading
from app.tables.jobs import Step
from tests.faults.checker import check
from tests.faults.conftest import quick_world
from tests.platforms import platform


@pytest.mark.parametrize("action", ["kill", pytest.param("stop", marks=pytest.mark.long), "raise"])
def test_a_gpu_process_that_crashes_hangs_or_fails_is_replaced(
    action: str, sqlite_database_url: str, empty_valkey_url: str, tmp_path: Path
) -> None:
    world = quick_world(
        sqlite_database_url,
        tmp_path / "home",
        sampler_script="tests.faults.scripted_models:breakable_pupil",
        stall_seconds=30,  # on a busy machine the process takes 20 s to start
    )
    with platform(world, empty_valkey_url) as running:
        running.scheduler()
        running.worker(STAR_FAILPOINTS=f"gpu.answer={action}@12")
        job_id = world.submit(iterations=1)
        running.wait_for(job_id, "succeeded")
        check(world, platform=running)
        outcomes = [event["code"] for event in running.log_events() if event["event"] == "step_failed"]
    codes = {"kill": "gpu_process_died", "stop": "gpu_stalled", "raise": "gpu_process_failed"}
    assert outcomes == [codes[action]]


def test_a_poison_job_fails_after_three_attempts_with_its_last_words_and_takes_nobody_down(
    database_url: str, empty_valkey_url: str, tmp_path: Path
) -> None:
    world = quick_world(
        database_url, tmp_path / "home", sampler_script="tests.faults.scripted_models:poison", max_attempts=3
    )
    with platform(world, empty_valkey_url) as running:
        running.scheduler()
        running.worker()
        child = None
        job_id = world.submit()
        running.wait_for(job_id, "failed")
        child = running.pool_child("worker").pid
        second = world.submit()
        running.wait_for(second, "failed")
        assert running.pool_child("worker").pid == child
        check(world, platform=running)
    reason = world.job(job_id).status_reason
    assert reason is not None
    assert (reason["code"], reason["category"]) == ("gpu_process_died", "platform")
    assert (reason["phase"], reason["iteration"], reason["attempt"]) == ("baselines", 0, 3)
    assert "these are my last words" in reason["log_tail"]


def test_out_of_memory_halves_the_batch_twice_and_then_fails_with_advice(
    sqlite_database_url: str, empty_valkey_url: str, tmp_path: Path
) -> None:
    world = quick_world(
        sqlite_database_url, tmp_path / "home", sampler_script="tests.faults.scripted_models:too_large"
    )
    with platform(world, empty_valkey_url) as running:
        running.scheduler()
        running.worker()
        job_id = world.submit()
        running.wait_for(job_id, "failed")
        check(world, platform=running)
    reason = world.job(job_id).status_reason
    assert reason is not None
    assert (reason["code"], reason["category"], reason["attempt"]) == ("out_of_memory", "capacity", 3)
    assert "max_tokens" in reason["hint"]
    with reading(world.engine) as session:
        failed = session.scalars(select(Step).where(Step.status == "failed")).one()
    assert failed.work["halvings"] == 3
