from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from app.database import clock, reading, transaction
from app.ledger.queue.capacity import DEFAULT_QUEUE, Capacity, fitting_workers, forget_worker, saw_worker
from app.ledger.queue.outbox import relay
from app.ledger.queue.steps import Claim, claim_step
from app.tables.data import Model
from app.tables.platform import Worker
from tests.factories import MODEL, World

SMALL = Capacity()
LARGE = Capacity(gpus=2, gpu_memory_gib=80, gpu_class="h100")


def require(world: World, **requirements: Any) -> None:
    """Of the model that this world's jobs use."""
    with transaction(world.engine) as session:
        session.execute(update(Model).where(Model.id == MODEL).values(**requirements))


def take(world: World, worker: str, capacity: Capacity) -> Claim | None:
    return claim_step(world.engine, worker, 60, capacity=capacity)


def fitting(world: World) -> int:
    with reading(world.engine) as session:
        return fitting_workers(session, session.get_one(Model, MODEL))


@pytest.mark.parametrize(
    ("needed", "too_small", "enough"),
    [
        ({"gpus": 2}, Capacity(gpus=1), Capacity(gpus=2)),
        ({"gpu_memory_gib": 40}, Capacity(gpu_memory_gib=24), Capacity(gpu_memory_gib=40)),
        ({"gpu_memory_gib": 40}, Capacity(), Capacity(gpu_memory_gib=80)),
        ({"gpu_class": "h100"}, Capacity(gpu_class="a100"), Capacity(gpu_class="h100")),
        ({"gpu_class": "h100"}, Capacity(), LARGE),
        ({"gpus": 2, "gpu_memory_gib": 80}, Capacity(gpus=4, gpu_memory_gib=40), LARGE),
    ],
)
def test_a_worker_is_given_only_steps_that_fit_it(
    world: World, needed: dict[str, Any], too_small: Capacity, enough: Capacity
) -> None:
    require(world, **needed)
    world.submit()
    assert take(world, "small:1", too_small) is None
    assert fitting(world) == 0
    assert take(world, "large:1", enough) is not None
    assert fitting(world) == 1


def test_a_model_without_requirements_runs_anywhere(world: World) -> None:
    world.submit()
    assert take(world, "small:1", SMALL) is not None
    assert take(world, "large:1", LARGE) is not None
    assert fitting(world) == 2


def test_only_live_workers_are_counted_on(world: World) -> None:
    with transaction(world.engine) as session:
        for worker in ("ended:1", "silent:1", "there:1"):
            saw_worker(session, worker, LARGE)
        forget_worker(session, "ended:1")
        session.execute(update(Worker).where(Worker.id == "silent:1").values(seen_at=clock(-600)))
    assert fitting(world) == 1


def test_a_ring_goes_to_every_kind_of_worker_that_fits(world: World) -> None:
    require(world, gpu_memory_gib=40)
    middle = Capacity(gpu_memory_gib=48)
    with transaction(world.engine) as session:
        for number, capacity in enumerate((SMALL, middle, LARGE, LARGE)):
            saw_worker(session, f"worker:{number}", capacity)
    world.submit()
    notifications: list[tuple[str, str]] = []
    sent = relay(world.engine, lambda step_id, queue: notifications.append((step_id, queue)))
    assert sorted({queue for _, queue in notifications}) == sorted([middle.queue, LARGE.queue])
    assert len(notifications) == 2 * sent


def test_a_ring_goes_to_everybody_while_nobody_is_known_to_fit(world: World) -> None:
    require(world, gpus=8)
    with transaction(world.engine) as session:
        saw_worker(session, "worker:1", SMALL)
    world.submit()
    queues: list[str] = []
    relay(world.engine, lambda _, queue: queues.append(queue))
    assert {*queues} == {DEFAULT_QUEUE}
