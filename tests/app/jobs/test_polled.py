"""Polls of a job share what they cost, and learn of a new status at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Semaphore
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session

from app.database import reading, transaction
from app.jobs import polled
from app.jobs.polled import View, Views
from app.jobs.views import JobOut, show_job
from app.ledger.jobs.jobs import cancel_job
from app.ledger.platform.keys import Scope, create_key, revoke
from app.tables.jobs import Job
from app.tables.platform import Project
from tests.app.api_harness import Api, bearer, serve

POLLERS = 40


@pytest.fixture(autouse=True)
def lasting_views(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no poll of a slow machine has its view made again."""
    monkeypatch.setattr(polled, "VIEW_SECONDS", 600.0)


def poll(api: Api, job_id: str, etag: str, **headers: str) -> Any:
    return api.client.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": etag, **headers})


def test_polls_that_come_together_share_their_queries(api: Api) -> None:
    job = api.job()
    etag = api.client.get(f"/v1/jobs/{job['id']}").headers["etag"]
    statements: list[str] = []
    engine = api.client.app.state.engine  # type: ignore[attr-defined]
    event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    with ThreadPoolExecutor(POLLERS) as pool:
        answers = list(pool.map(lambda _: poll(api, job["id"], etag), range(POLLERS)))
    assert [answer.status_code for answer in answers] == [304] * POLLERS
    assert len(statements) < POLLERS  # two for each, if each looked by itself


def test_those_who_ask_for_a_job_at_once_share_a_view_that_was_read_after_all_of_them_came(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = Views()
    with reading(api.engine) as session:
        job = session.get_one(Job, api.job()["id"])
    looked, first_makes, go_on = Semaphore(0), Event(), Event()
    made: list[str] = []

    def show(session: Session, job: Job) -> JobOut:
        made.append(job.id)
        first_makes.set()
        assert go_on.wait(30)
        return show_job(session, job)

    def fresh(*args: Any) -> View | None:
        found = Views.fresh(views, *args)
        looked.release()
        return found

    monkeypatch.setattr(polled, "show_job", show)
    monkeypatch.setattr(views, "fresh", fresh)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(views.view, api.engine, job, polled=False)
        assert first_makes.wait(30)
        later = [pool.submit(views.view, api.engine, job, polled=False) for _ in range(3)]
        for _ in range(2 + 3):  # the first has looked twice; the others wait for it
            assert looked.acquire(timeout=30)
        go_on.set()
    assert {one.result().etag for one in later} == {first.result().etag}
    assert len(made) == 2  # the first one's was begun before the others came


def test_requests_are_answered_where_the_shared_look_fails(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    job = api.job()

    def fails(*args: Any) -> None:
        raise RuntimeError("the database was away")

    monkeypatch.setattr(polled, "find_jobs", fails)
    assert api.client.get(f"/v1/jobs/{job['id']}").json()["id"] == job["id"]
    assert api.client.get("/v1/jobs/job_0").status_code == 404


def test_a_poll_learns_of_a_new_status_at_once(api: Api) -> None:
    job = api.job()
    etag = api.client.get(f"/v1/jobs/{job['id']}").headers["etag"]
    assert poll(api, job["id"], etag).status_code == 304
    with transaction(api.engine) as session:
        cancel_job(session, session.get_one(Job, job["id"]))
    answer = poll(api, job["id"], etag)
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert poll(api, job["id"], answer.headers["etag"]).status_code == 304


def test_a_poll_is_refused_to_those_who_may_not_see_the_job(api: Api) -> None:
    job = api.job()
    etag = api.client.get(f"/v1/jobs/{job['id']}").headers["etag"]
    with transaction(api.engine) as session:
        project = session.query(Project).filter_by(name="owner").one()
        key = create_key(session, project, "short-lived", [Scope.READ])
    assert poll(api, job["id"], etag, **bearer(key)).status_code == 304
    with transaction(api.engine) as session:
        revoke(session, f"key_{key.split('_')[1]}")
    assert poll(api, job["id"], etag, **bearer(key)).status_code == 401
    assert poll(api, job["id"], etag, **api.other).status_code == 404
    assert poll(api, job["id"], etag, Authorization="Bearer star_x").status_code == 401
    assert poll(api, job["id"], '"other"').status_code == 200
    assert poll(api, "job_" + "0" * 26, etag).status_code == 404


def test_polls_count_towards_the_limit_of_their_key(sqlite_database_url: str, tmp_path: Path) -> None:
    with serve(sqlite_database_url, tmp_path / "home", rate_limit="8/minute") as api:
        job = api.job()  # three requests
        etag = api.client.get(f"/v1/jobs/{job['id']}").headers["etag"]
        answers = [poll(api, job["id"], etag) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [304] * 4 + [429]
    assert answers[3].headers["ratelimit"].startswith('"key";r=0')
