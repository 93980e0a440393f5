"""A disk without space, and an artifact that is not what its name says."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.database import reading
from app.ledger.queue.steps import claim_step
from app.ledger.results.adapters import find_adapter
from tests.faults.checker import check
from tests.faults.conftest import quick_world
from tests.platforms import platform
from worker.shared_calls import work_on

WRITES = (
    "storage.before_fsync=enospc",
    "storage.before_rename=enospc@3",
    "train.step=enospc@2",
    "sample.before_record=enospc",
    "verify_adapter.before_record=enospc",
)


def test_a_full_disk_at_any_write_costs_an_attempt_only(
    sqlite_database_url: str, empty_valkey_url: str, tmp_path: Path
) -> None:
    world = quick_world(sqlite_database_url, tmp_path / "home")
    with platform(world, empty_valkey_url) as running:
        running.scheduler()
        running.worker(STAR_FAILPOINTS=",".join(WRITES))
        job_id = world.submit(iterations=1)
        running.wait_for(job_id, "succeeded")
        check(world, platform=running)
        codes = [event["code"] for event in running.log_events() if event["event"] == "step_failed"]
    assert codes == ["disk_full"] * len(WRITES)


@pytest.mark.parametrize("harm", ["flip a bit", "cut short", "delete"])
def test_an_artifact_that_is_not_what_was_recorded_fails_the_job_clearly(
    harm: str, database_url: str, tmp_path: Path
) -> None:
    """Seen by the worker of another machine, which has no copy of its own."""
    world = quick_world(database_url, tmp_path / "home")
    job_id = world.submit(iterations=1)
    first = world.worker_context("first:1")
    while world.job(job_id).phase != "verify_adapter":
        claim = claim_step(world.engine, "first:1", 60)
        assert claim is not None
        work_on(first, claim)
    first.drop_gpu()
    with reading(world.engine) as session:
        adapter = find_adapter(session, job_id, 1)
        assert adapter is not None
    sha = adapter.files[-1]["sha256"]
    path = Path(world.settings.resolved_storage_url()) / "sha256" / sha[:2] / sha[2:]
    break_file(path, harm)
    other = world.worker_context("other:2")
    claim = claim_step(world.engine, "other:2", 60)
    assert claim is not None
    work_on(other, claim)
    other.drop_gpu()
    job = world.job(job_id)
    assert job.status == "failed"
    assert job.status_reason is not None
    assert (job.status_reason["code"], job.status_reason["phase"]) == ("bad_artifact", "verify_adapter")
    check(world)


def break_file(path: Path, harm: str) -> None:
    data = bytearray(path.read_bytes())
    if harm == "delete":
        path.unlink()
        return
    if harm == "cut short":
        del data[len(data) // 2 :]
    else:
        data[len(data) // 2] ^= 1
    path.write_bytes(data)
