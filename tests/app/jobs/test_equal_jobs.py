"""return_equal, and the Idempotency-Key of a request that is still being answered."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from app.database import make_engine, reading
from app.errors import Conflict
from app.http.idempotency import only_one
from app.tables.platform import Project
from tests.app.api_harness import Api


def test_equal_job_is_returned_instead_of_made_where_that_is_asked_for(api: Api) -> None:
    body = api.job_body(return_equal=True)
    first = api.client.post("/v1/jobs", json=body)
    assert (first.status_code, "deduplicated" in first.headers) == (201, False)
    renamed = {**body, "name": "another", "priority": 3, "metadata": {"a": "b"}}
    again = api.client.post("/v1/jobs", json=renamed)
    assert (again.status_code, again.headers["deduplicated"]) == (200, "true")
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert api.job()["id"] != first.json()["id"]  # it was not asked for


def test_other_settings_make_another_job(api: Api) -> None:
    body = api.job_body(return_equal=True)
    first = api.client.post("/v1/jobs", json=body).json()
    for change in ({"config": {**body["config"], "seed": 7}}, {"preset": "star-without-rationalization"}):
        answer = api.client.post("/v1/jobs", json={**body, **change})
        assert (answer.status_code, answer.json()["id"] != first["id"]) == (201, True)


def test_cancelled_job_is_not_found_again_nor_is_another_projects(api: Api) -> None:
    body = api.job_body(return_equal=True)
    first = api.client.post("/v1/jobs", json=body).json()
    api.client.post(f"/v1/jobs/{first['id']}/cancel")
    assert api.client.post("/v1/jobs", json=body).status_code == 201


def test_equal_jobs_that_come_in_at_once_are_one(api: Api) -> None:
    body = api.job_body(dedupe=True)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api.client.post("/v1/jobs", json=body), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_a_replay_is_answered_while_another_request_has_its_key(api: Api) -> None:
    body, headers = api.job_body(), {"Idempotency-Key": "done"}
    made = api.client.post("/v1/jobs", json=body, headers=headers)
    with reading(api.engine) as session:
        owner = session.scalars(select(Project.id).where(Project.name == "owner")).one()
    with only_one(api.engine, owner, "done"):
        again = api.client.post("/v1/jobs", json=body, headers=headers)
    assert (again.status_code, again.json()["id"]) == (201, made.json()["id"])
    assert again.headers["idempotent-replayed"] == "true"


def test_equal_requests_at_once_wait_for_the_first_and_get_its_job(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.http.idempotency.WAIT_SECONDS", 60.0)
    body, headers = api.job_body(), {"Idempotency-Key": "at once"}
    with ThreadPoolExecutor(15) as pool:
        answers = list(pool.map(lambda _: api.client.post("/v1/jobs", json=body, headers=headers), range(15)))
    assert [answer.status_code for answer in answers] == [201] * 15
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_key_whose_request_is_being_answered_for_long_is_409(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.http.idempotency.WAIT_SECONDS", 0.05)
    body, headers = api.job_body(), {"Idempotency-Key": "slow"}
    with reading(api.engine) as session:
        owner = session.scalars(select(Project.id).where(Project.name == "owner")).one()
    with only_one(api.engine, owner, "slow"):
        busy = api.client.post("/v1/jobs", json=body, headers=headers)
        assert (busy.status_code, busy.json()["code"]) == (409, "idempotency_in_flight")
        other = api.client.post("/v1/jobs", json=body, headers={"Idempotency-Key": "another"})
        assert other.status_code == 201
    assert api.client.post("/v1/jobs", json=body, headers=headers).status_code == 201


def test_request_in_flight_is_seen_by_other_processes_on_postgresql(
    postgresql_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.http.idempotency.WAIT_SECONDS", 0.05)
    engine = make_engine(postgresql_database_url)
    with only_one(engine, "proj", "key"):
        monkeypatch.setattr("app.http.idempotency._here", set())  # as another process has it
        with pytest.raises(Conflict), only_one(engine, "proj", "key"):
            pytest.fail("entered twice")
    with only_one(engine, "proj", "key"):
        pass
    engine.dispose()
