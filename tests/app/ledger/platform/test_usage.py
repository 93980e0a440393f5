"""GPU-seconds: every claim is counted once, in the transaction that ends it, however it ends."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from app.database import clock, reading, transaction
from app.ledger.platform.usage import gpu_seconds_spent
from app.ledger.queue.reaper import reap
from app.ledger.queue.steps import Claim, Fenced, fail_step, finish_step, release_step
from app.tables.jobs import Step
from app.tables.usage import Usage
from tests.app.ledger.ledger_driver import claim, finish_job
from tests.factories import World

ERROR = {"code": "broken", "category": "platform", "message": "broken", "hint": ""}


def usage(world: World) -> Sequence[Usage]:
    with reading(world.engine) as session:
        return session.scalars(select(Usage).order_by(Usage.id)).all()


def began(world: World, held: Claim, seconds_ago: float, lease_left: float = 60) -> None:
    values: dict[str, Any] = {"started_at": clock(-seconds_ago), "lease_until": clock(lease_left)}
    with transaction(world.engine) as session:
        session.execute(update(Step).where(Step.id == held.step_id).values(**values))


def test_every_way_to_end_a_claim_leaves_one_row_with_its_seconds(world: World) -> None:
    job_id = world.submit()
    ended: list[tuple[str, Claim]] = []
    for outcome in ("handed_back", "failed", "succeeded"):
        held = claim(world, worker=f"worker:{outcome}")
        began(world, held, seconds_ago=100)
        with transaction(world.engine) as session:
            if outcome == "handed_back":
                release_step(session, held)
            elif outcome == "failed":
                fail_step(session, held, ERROR, retryable=True, settings=world.settings)
            else:
                finish_step(session, held, world.settings)
        ended.append((outcome, held))
    rows = usage(world)
    assert [(row.outcome, row.step_id, row.fence) for row in rows] == [
        (outcome, held.step_id, held.fence) for outcome, held in ended
    ]
    assert [row.worker_id for row in rows] == [f"worker:{outcome}" for outcome, _ in ended]
    assert {(row.project_id, row.job_id, row.phase) for row in rows} == {
        (world.project_id, job_id, "baselines")
    }
    assert all(100 <= row.gpu_seconds < 160 for row in rows)


def test_lost_worker_is_charged_up_to_the_end_of_its_lease(world: World) -> None:
    world.submit()
    began(world, claim(world), seconds_ago=1000, lease_left=-700)
    assert reap(world.engine, world.settings) == 1
    (row,) = usage(world)
    assert row.outcome == "lost"
    assert timedelta(seconds=row.gpu_seconds) == pytest.approx(
        timedelta(seconds=300), abs=timedelta(seconds=1)
    )


def test_claim_that_was_lost_is_not_counted_a_second_time(world: World) -> None:
    world.submit()
    held = claim(world)
    began(world, held, seconds_ago=10, lease_left=-1)
    reap(world.engine, world.settings)
    with pytest.raises(Fenced), transaction(world.engine) as session:
        finish_step(session, held, world.settings)
    assert [row.outcome for row in usage(world)] == ["lost"]


def test_running_claims_count_while_they_run(world: World) -> None:
    job_id = world.submit()
    began(world, claim(world), seconds_ago=50)
    with reading(world.engine) as session:
        assert 50 <= gpu_seconds_spent(session, job_id) < 100
    assert usage(world) == []


def test_claims_that_one_worker_holds_together_share_its_time(world: World) -> None:
    """One for 100 s, the other for the last 40 s of them: a worker cannot spend 140 s."""
    job_id = world.submit()
    long, short = claim(world), claim(world)
    began(world, long, seconds_ago=100)
    began(world, short, seconds_ago=40)
    with reading(world.engine) as session:
        assert 100 <= gpu_seconds_spent(session, job_id) < 110
    for held in (short, long):
        with transaction(world.engine) as session:
            finish_step(session, held, world.settings)
    assert [row.gpu_seconds for row in usage(world)] == [pytest.approx(20, abs=3), pytest.approx(80, abs=6)]
    with reading(world.engine) as session:
        assert 100 <= gpu_seconds_spent(session, job_id) < 110


def test_claims_of_two_workers_are_charged_in_full(world: World) -> None:
    job_id = world.submit()
    for worker in ("worker:1", "worker:2"):
        began(world, claim(world, worker), seconds_ago=50)
    with reading(world.engine) as session:
        assert 100 <= gpu_seconds_spent(session, job_id) < 110


def test_whole_job_has_one_row_per_step_and_none_for_the_cpu_phase(world: World) -> None:
    job_id = world.submit()
    finish_job(world)
    rows = usage(world)
    assert len(rows) == world.step_count(job_id)
    assert {row.phase for row in rows if row.gpu_seconds == 0.0} >= {"build"}
    assert {row.gpu_seconds for row in rows if row.phase == "build"} == {0.0}
