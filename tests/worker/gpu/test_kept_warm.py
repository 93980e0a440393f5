"""What becomes of the warm GPU process when a step stops without having failed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.ledger.queue.steps import Claim, Fenced
from tests.factories import World, make_world
from tests.worker.gpus import LONG, requests
from worker.context import WorkerContext
from worker.lease import Lease, Released
from worker.settle import stop
from worker.tracing.claims import claim_next


@pytest.fixture
def world(sqlite_database_url: str, tmp_path: Path) -> World:
    return make_world(sqlite_database_url, tmp_path / "home")


@pytest.fixture
def worker(world: World) -> Iterator[WorkerContext]:
    worker = world.worker_context()
    yield worker
    worker.drop_gpu()


def at_work(world: World, worker: WorkerContext) -> tuple[Claim, int]:
    """A claim whose texts are being sampled, and the process id of its model."""
    world.submit()
    claim = claim_next(worker)
    assert claim is not None
    gpu = worker.gpu(claim.model_id, 0)
    texts = gpu.stream(requests(*["1 + 1"] * 100), LONG)
    next(texts)
    return claim, gpu.pid


def end(worker: WorkerContext, claim: Claim, problem: Exception) -> str:
    return stop(worker, claim, Lease(worker.engine, worker.settings, claim, worker.draining), problem)


def test_a_cancelled_or_paused_step_leaves_its_model_warm(world: World, worker: WorkerContext) -> None:
    claim, pid = at_work(world, worker)
    assert end(worker, claim, Released("cancel")) == "handed_back"
    assert worker.warm_model == claim.model_id
    again = worker.gpu(claim.model_id, 0)
    assert again.pid == pid
    assert len(list(again.stream(requests("1 + 1"), LONG))) == 1


def test_a_step_that_another_worker_holds_loses_its_model(world: World, worker: WorkerContext) -> None:
    claim, _ = at_work(world, worker)
    end(worker, claim, Fenced(claim.step_id))
    assert worker.warm_model is None


def test_a_worker_that_ends_keeps_no_model(world: World, worker: WorkerContext) -> None:
    claim, _ = at_work(world, worker)
    worker.draining = lambda: True
    assert end(worker, claim, Released("continue")) == "handed_back"
    assert worker.warm_model is None
