from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from app.database import reading, transaction
from app.ledger.queue.capacity import fitting_workers, saw_worker
from app.ledger.queue.steps import claim_step
from app.tables.data import Model
from app.tables.jobs import Step
from tests.app.ledger.ledger_driver import claim, do_step, finish_job, finish_phase
from tests.factories import MODEL, TRAIN, World, make_world
from tests.faults.checker import check


@pytest.fixture
def whole(database_url: str, tmp_path: Path) -> World:
    """All train examples are one shard."""
    return make_world(database_url, tmp_path / "home", shard_examples=TRAIN)


def saw(world: World, *workers: str) -> None:
    with transaction(world.engine) as session:
        for worker in workers:
            saw_worker(session, worker)


def shards(world: World, phase: str) -> list[tuple[int, int]]:
    with reading(world.engine) as session:
        steps = session.scalars(select(Step).where(Step.phase == phase).order_by(Step.shard))
        return [(step.work["start"], step.work["stop"]) for step in steps]


def test_a_worker_alone_takes_the_whole_shard(whole: World) -> None:
    whole.submit(audits={"spark_level": None})
    finish_phase(whole, "baselines")
    claim(whole)
    assert shards(whole, "sample") == [(0, TRAIN)]


def test_the_last_shard_is_shared_with_the_other_workers_and_nothing_is_asked_twice(whole: World) -> None:
    job_id = whole.submit(iterations=1, audits={"spark_level": None})
    finish_phase(whole, "baselines")
    saw(whole, "worker:1", "worker:2")
    first = claim(whole)
    assert (first.work["start"], first.work["stop"]) == (0, TRAIN // 2)
    second = claim(whole, "worker:2")
    assert (second.work["start"], second.work["stop"]) == (TRAIN // 2, TRAIN)
    for held in (first, second):
        do_step(whole, held)
    finish_job(whole)
    assert whole.job(job_id).status == "succeeded"
    check(whole)


def test_every_worker_that_asks_is_counted_once(whole: World) -> None:
    for worker in ("worker:1", "worker:2", "worker:1"):
        claim_step(whole.engine, worker, 60)
    with reading(whole.engine) as session:
        assert fitting_workers(session, session.get_one(Model, MODEL)) == 2
