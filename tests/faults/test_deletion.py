"""An interrupted deletion is all of it or nothing to users, and the next scheduler finishes the removal."""

from __future__ import annotations

import os
import time
import urllib.request
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from app.database import clock, reading, transaction
from app.ledger.deletion.mark import delete_job
from app.storage import MissingArtifact, Storage
from app.tables.base import WITH_DELETED
from app.tables.data import Example
from app.tables.jobs import Job, Step
from app.tables.rationales import Adapter, Rationale
from app.tables.usage import Usage
from tests.app.api_harness import serve
from tests.app.ledger.ledger_driver import finish_job
from tests.factories import TRAIN, VALIDATION, World
from tests.faults.boundaries import DELETION
from tests.faults.checker import check
from tests.faults.test_api import NO_BROKER, start
from tests.platforms import platform, wait_until
from worker.valkey import free_port

QUICK = ("sqlite_world", "delete.before_commit@2")
CASES = [
    pytest.param(database, point, marks=[] if (database, point) == QUICK else pytest.mark.long)
    for database in ("sqlite_world", "postgresql_world")
    for point in DELETION
]
LONG_AGO = timedelta(hours=2).total_seconds()


@pytest.mark.parametrize(("database", "point"), CASES)
def test_removal_that_is_killed_is_finished_by_the_next_scheduler(
    database: str, point: str, request: pytest.FixtureRequest, empty_valkey_url: str
) -> None:
    world: World = request.getfixturevalue(database)
    kept, deleted = world.submit(iterations=1), world.submit(iterations=1)
    finish_job(world)
    name, _, visit = point.partition("@")
    mark_and_age(world, deleted)
    used = rows(world, Usage)
    shas = {job_id: weights(world, job_id) for job_id in (kept, deleted)}
    with platform(world, empty_valkey_url) as running:
        running.scheduler("first", STAR_FAILPOINTS=f"{name}=kill@{visit or 1}")
        assert running.parts.pop("first").wait(timeout=120) == 128 + 9
        running.scheduler("second")
        wait_until(lambda: rows(world, Job) == 1, "the job is removed")
        check(world, platform=running)
    store = Storage(world.settings.resolved_storage_url())
    assert store.size(shas[kept]) > 0
    with pytest.raises(MissingArtifact):
        store.size(shas[deleted])
    assert (rows(world, Usage), rows(world, Example)) == (used, TRAIN + VALIDATION)
    with reading(world.engine) as session:
        for table in (Rationale, Step, Adapter):
            assert set(session.scalars(select(table.job_id))) == {kept}


@pytest.mark.parametrize("point", ["delete.before_mark", "delete.after_mark"])
@pytest.mark.parametrize(
    "database", ["sqlite_database_url", pytest.param("postgresql_database_url", marks=pytest.mark.long)]
)
def test_api_that_is_killed_while_it_deletes_leaves_the_whole_job_or_none(
    database: str, point: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with serve(request.getfixturevalue(database), tmp_path_factory.mktemp("home")) as api:
        world = World(api.engine, api.settings, "", "", "", "")
        job, port = api.job(), free_port()
        api.client.post(f"/v1/jobs/{job['id']}/cancel")
        with platform(world, NO_BROKER) as running:
            start(running, port, "api", STAR_FAILPOINTS=f"{point}=kill")
            asked = urllib.request.Request(
                f"http://127.0.0.1:{port}/v1/jobs/{job['id']}",
                headers={"Authorization": api.client.headers["Authorization"]},
                method="DELETE",
            )
            with pytest.raises(ConnectionError):
                urllib.request.urlopen(asked, timeout=60)  # noqa: S310 - our own http URL
            assert running.parts.pop("api").wait(timeout=60) == 128 + 9
        there = api.client.get(f"/v1/jobs/{job['id']}").status_code == 200
        assert there == (point == "delete.before_mark")
        check(world)


def mark_and_age(world: World, job_id: str) -> None:
    """Delete the job, as if that and all that is stored were two hours old."""
    with transaction(world.engine) as session:
        delete_job(session, job_id)
        session.flush()
        job = session.scalars(select(Job).where(Job.id == job_id), execution_options=WITH_DELETED).one()
        job.deleted_at = clock(-LONG_AGO)
    stored = Storage(world.settings.resolved_storage_url()).folder
    assert stored is not None
    for path in stored.rglob("*"):
        os.utime(path, (time.time() - LONG_AGO,) * 2)


def weights(world: World, job_id: str) -> str:
    with reading(world.engine) as session:
        files = select(Adapter.files).where(Adapter.job_id == job_id)
        return str(session.scalars(files).one()[0]["sha256"])


def rows(world: World, table: type[Job] | type[Usage] | type[Example]) -> int:
    with reading(world.engine) as session:
        found = session.scalar(select(func.count()).select_from(table), execution_options=WITH_DELETED)
        return found or 0
