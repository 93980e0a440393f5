"""kill -9 of a worker at the boundaries of each phase delays the job, and loses and doubles nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.factories import World
from tests.faults.boundaries import (
    ELSEWHERE,
    IN_PHASE,
    OF_A_VERIFIER,
    PREPARED,
    REWARDS,
    REWARDS_SETTINGS,
    VERIFIER_SETTINGS,
    WAVES,
    WAVES_SETTINGS,
    of_phase,
    survives,
)
from tests.faults.checker import check
from tests.faults.conftest import quick_world
from tests.platforms import platform, wait_until
from tests.wavering import SCRIPT


@pytest.mark.parametrize(
    "phase",
    [phase if phase == "train" else pytest.param(phase, marks=pytest.mark.long) for phase in IN_PHASE],
)
def test_worker_killed_in_each_phase_delays_the_job_only(
    phase: str, sqlite_world: World, empty_valkey_url: str
) -> None:
    survives(sqlite_world, empty_valkey_url, "kill", of_phase(phase))


@pytest.mark.long
def test_worker_killed_in_the_phases_of_a_verifier_delays_the_job_only(
    sqlite_world: World, empty_valkey_url: str
) -> None:
    points = [of_phase(phase)[0] for phase in OF_A_VERIFIER]
    survives(sqlite_world, empty_valkey_url, "kill", points, VERIFIER_SETTINGS)


@pytest.mark.long
@pytest.mark.parametrize("phase", OF_A_VERIFIER)
def test_worker_killed_in_each_phase_of_a_verifier_delays_the_job_only(
    phase: str, world: World, empty_valkey_url: str
) -> None:
    survives(world, empty_valkey_url, "kill", of_phase(phase), VERIFIER_SETTINGS)


def test_worker_killed_at_the_end_of_a_wave_delays_the_job_only(
    sqlite_world: World, empty_valkey_url: str
) -> None:
    survives(sqlite_world, empty_valkey_url, "kill", WAVES[1:2], WAVES_SETTINGS)


@pytest.mark.long
def test_worker_killed_while_tries_are_rewarded_delays_the_job_only(
    sqlite_database_url: str, empty_valkey_url: str, tmp_path: Path
) -> None:
    world = quick_world(sqlite_database_url, tmp_path / "home", sampler_script=SCRIPT)
    survives(world, empty_valkey_url, "kill", REWARDS, REWARDS_SETTINGS)


@pytest.mark.long
def test_worker_killed_between_the_waves_of_a_selection_delays_the_job_only(
    world: World, empty_valkey_url: str
) -> None:
    survives(world, empty_valkey_url, "kill", WAVES, WAVES_SETTINGS)


@pytest.mark.long
def test_worker_killed_in_every_phase_on_postgresql(postgresql_world: World, empty_valkey_url: str) -> None:
    """One kill in each phase of one job, and one between claim and work."""
    points = [of_phase(phase)[0] for phase in IN_PHASE]
    survives(postgresql_world, empty_valkey_url, "kill", [*points, ELSEWHERE[1]])


@pytest.mark.long
@pytest.mark.parametrize("phase", IN_PHASE)
def test_worker_killed_in_each_phase_on_postgresql_delays_the_job_only(
    phase: str, postgresql_world: World, empty_valkey_url: str
) -> None:
    survives(postgresql_world, empty_valkey_url, "kill", of_phase(phase))


@pytest.mark.long
@pytest.mark.parametrize("point", [*ELSEWHERE, *PREPARED])
def test_worker_killed_outside_of_the_phases(point: str, world: World, empty_valkey_url: str) -> None:
    survives(world, empty_valkey_url, "kill", [point])


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
