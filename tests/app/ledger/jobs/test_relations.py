"""Baselines beside a job: made with it, waiting for what both ask, cancelled only if that is asked for."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from app.database import reading, transaction
from app.ledger.jobs.jobs import cancel_family, cancel_job, pause_job
from app.ledger.jobs.relations import baselines_of
from app.ledger.queue.steps import Claim, claim_step
from app.tables.jobs import Job
from tests.app.ledger.ledger_driver import claim, do_step, finish_job
from tests.factories import World
from tests.faults.checker import check

BESIDE: dict[str, Any] = {"star-without-rationalization": {"rationalization": {"probability": 0.5}}}


def siblings(world: World, job_id: str) -> list[Job]:
    with reading(world.engine) as session:
        return list(baselines_of(session, job_id))


def test_a_baseline_is_claimed_once_the_job_beside_it_has_sampled(world: World) -> None:
    job_id = world.submit(beside=BESIDE)
    [baseline] = siblings(world, job_id)
    assert (baseline.baseline_of, baseline.baseline) == (job_id, "star-without-rationalization")
    seen = []
    while (held := claim_step(world.engine, "worker:1", 60)) is not None and held.job_id == job_id:
        seen.append((held.iteration, held.phase))
        if world.job(job_id).iteration > 1:
            break
        do_step(world, held)
    assert {(0, "baselines"), (1, "sample")} <= {*seen}
    assert held is not None
    do_step(world, held)
    finish_job(world)
    assert world.job(baseline.id).status == "succeeded"
    check(world)


def test_two_workers_do_not_ask_the_same_at_once(world: World) -> None:
    job_id = world.submit(beside=BESIDE, baselines_only=False)
    held: list[Claim] = []
    while (one := claim_step(world.engine, f"worker:{len(held)}", 60)) is not None:
        held.append(one)
    assert {one.job_id for one in held} == {job_id}


@pytest.mark.parametrize("end", [cancel_job, pause_job])
def test_a_job_that_stops_holds_no_baseline_up(world: World, end: Any) -> None:
    job_id = world.submit(beside=BESIDE)
    with transaction(world.engine) as session:
        end(session, session.get_one(Job, job_id))
    [baseline] = siblings(world, job_id)
    assert claim(world).job_id == baseline.id


def test_cancelling_spares_the_baselines_unless_asked(world: World) -> None:
    spared, whole = world.submit(beside=BESIDE), world.submit(beside=BESIDE)
    with transaction(world.engine) as session:
        cancel_job(session, session.get_one(Job, spared))
        cancel_family(session, session.get_one(Job, whole))
        statuses = {job.id: job.status for job in session.scalars(select(Job))}
    assert statuses[siblings(world, spared)[0].id] == "queued"
    assert statuses[siblings(world, whole)[0].id] == statuses[whole] == "cancelled"
