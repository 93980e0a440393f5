"""A worker that is stopped beyond its lease, or that fails, at any boundary delays the job only."""

from __future__ import annotations

import random
import time

import pytest

from tests.factories import World
from tests.faults.boundaries import ELSEWHERE, IN_PHASE, PREPARED, Action, of_phase, survives

ANYWHERE = [point for phase in IN_PHASE for point in of_phase(phase)] + [*ELSEWHERE]
ACTIONS: tuple[Action, ...] = ("stop", "raise")


@pytest.mark.parametrize("action", ["stop", pytest.param("raise", marks=pytest.mark.long)])
def test_worker_breaks_at_three_boundaries_that_the_dice_choose(
    action: Action, sqlite_world: World, empty_valkey_url: str
) -> None:
    seed = time.time_ns() % 10**6
    points = random.Random(seed).sample(ANYWHERE, 3)
    print(f"seed {seed}: {points}")  # noqa: T201
    survives(sqlite_world, empty_valkey_url, action, points)


@pytest.mark.long
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("phase", IN_PHASE)
def test_worker_breaks_at_every_boundary_of_a_phase(
    phase: str, action: Action, world: World, empty_valkey_url: str
) -> None:
    survives(world, empty_valkey_url, action, of_phase(phase))


@pytest.mark.long
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("point", [*ELSEWHERE, *PREPARED])
def test_worker_breaks_outside_of_the_phases(
    point: str, action: Action, world: World, empty_valkey_url: str
) -> None:
    survives(world, empty_valkey_url, action, [point])
