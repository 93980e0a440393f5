"""Steps of `evaluate` and `test_time` end in any order; the adapter's card holds what both have measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.database import reading
from app.ledger.queue.steps import Claim, claim_step
from app.ledger.results.adapters import find_adapter
from app.storage import Storage
from star_engine.adapters.layout import MANIFEST
from tests.factories import VALIDATION, World, make_world
from tests.worker.test_worker_counts import benches
from worker.context import WorkerContext
from worker.shared_calls import work_on

SETTINGS: dict[str, Any] = {
    "iterations": 1,
    "evaluation": {"baselines": (), "test_time": {"samples": 2, "ks": [1, 2]}},
}
MEASURING = ("evaluate", "test_time")


@pytest.mark.parametrize("last", MEASURING)
def test_the_card_holds_both_whichever_ends_last(last: str, sqlite_database_url: str, tmp_path: Path) -> None:
    world = make_world(sqlite_database_url, tmp_path / "home", shard_examples=4)
    job_id = world.submit(**SETTINGS)
    with benches(world, "side-by-side", 2 * VALIDATION) as workers:
        held = work_until_measuring(workers)
        phases = [str(claim.phase) for _, claim in held]
        assert set(phases) == set(MEASURING)
        assert min(map(phases.count, MEASURING)) > 1
        for worker, claim in sorted(held, key=lambda one: one[1].phase == last):
            work_on(worker, claim)
    assert world.job(job_id).status == "succeeded", world.job(job_id).status_reason
    measured = manifest(world, job_id)["evaluation"]
    assert measured["n"] == VALIDATION
    many = measured["receipt"]["collapse"]["adapter"]
    assert (many["n"], [point["k"] for point in many["passed"]]) == (VALIDATION, [1, 2])


def work_until_measuring(workers: list[WorkerContext]) -> list[tuple[WorkerContext, Claim]]:
    """Do everything before the adapter is measured; the claims on all steps that measure it."""
    held = []
    idle = list(workers)
    while (claim := claim_step(idle[0].engine, idle[0].worker_id, 60)) is not None:
        if claim.iteration == 1 and claim.phase in MEASURING:
            held.append((idle.pop(0), claim))
        else:
            work_on(idle[0], claim)
    return held


def manifest(world: World, job_id: str) -> dict[str, Any]:
    with reading(world.engine) as session:
        adapter = find_adapter(session, job_id, 1)
        assert adapter is not None
        sha256 = next(one["sha256"] for one in adapter.files if one["path"] == MANIFEST)
    storage = Storage(world.settings.resolved_storage_url())
    target = world.settings.home / MANIFEST
    storage.fetch(sha256, target)
    found: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))
    return found
