"""The audit log: what changes is in it, in the same transaction, and nobody can edit it."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import DatabaseError

from app.database import reading, transaction
from app.ledger.platform.audit_log import Acting, Unaudited, acting
from app.tables.audit import AuditEntry
from app.tables.jobs import Job
from app.tables.platform import ApiKey
from tests.app.api_harness import Api


def log(api: Api, **params: Any) -> list[dict[str, Any]]:
    answer = api.client.get("/v1/audit", params=params)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["data"])


def told(entry: dict[str, Any]) -> tuple[str, str, str]:
    return entry["action"], entry["change"], entry["target"]


def test_every_change_names_its_object_its_key_and_its_request(api: Api) -> None:
    job = api.job()
    cancelled = api.client.post(f"/v1/jobs/{job['id']}/cancel", headers={"x-request-id": "mine"})
    key = api.client.post("/v1/api-keys", json={"name": "ci"}).json()
    api.client.post(f"/v1/api-keys/{key['id']}/revoke")
    project = api.client.post("/v1/projects", json={"name": "team"}).json()
    entries = log(api)
    assert [told(entry) for entry in entries] == [
        ("POST /v1/api-keys/{api_key_id}/revoke", "changed", key["id"]),
        ("POST /v1/api-keys", "created", key["id"]),
        ("POST /v1/jobs/{job_id}/cancel", "changed", job["id"]),
        ("POST /v1/jobs", "created", job["id"]),
        ("POST /v1/prompt-sets", "created", job["prompt_set"]),
        ("POST /v1/datasets", "created", job["dataset"]),
    ]
    assert entries[0]["fields"] == ["revoked_at"]
    assert (entries[2]["request_id"], cancelled.headers["x-request-id"]) == ("mine", "mine")
    assert {"status", "stop_reason"} <= set(entries[2]["fields"])
    assert {entry["key"] for entry in entries} == {entries[0]["key"]}
    [made] = log(api, project=project["id"])
    assert told(made) == ("POST /v1/projects", "created", project["id"])


def test_neither_reading_nor_a_refused_request_is_in_the_log(api: Api) -> None:
    api.client.get("/v1/jobs")
    api.client.post("/v1/jobs", json={"model": "tiny"})
    api.client.post("/v1/jobs", json={}, headers=api.reader)
    body = api.job_body()
    before = len(log(api))
    answer = api.client.post("/v1/jobs", json={**body, "config": {"iterations": -1}})
    assert answer.status_code == 422
    assert len(log(api)) == before


def test_same_upload_again_changes_nothing(api: Api) -> None:
    api.dataset()
    before = log(api)
    api.dataset()
    assert log(api) == before


def test_an_upload_is_one_entry(api: Api) -> None:
    dataset = api.dataset()
    assert [(entry["change"], entry["target"]) for entry in log(api)] == [("created", dataset["id"])]


def test_log_holds_no_value(api: Api) -> None:
    key = api.client.post("/v1/api-keys", json={"name": "name-of-the-key"}).json()
    api.job(metadata={"note": "a note"})
    with reading(api.engine) as session:
        rows = session.execute(select(AuditEntry.__table__)).all()
    assert len(rows) == 4
    for value in (key["key"].split("_")[2], "name-of-the-key", "a note", "few-shot"):
        assert value not in str(rows)


def test_filters_and_pages(api: Api) -> None:
    job = api.job()
    for verb in ("pause", "resume", "cancel"):
        api.client.post(f"/v1/jobs/{job['id']}/{verb}")
    of_job = log(api, target=job["id"])
    assert [entry["action"].rsplit("/", 1)[-1] for entry in of_job] == ["cancel", "resume", "pause", "jobs"]
    first = api.client.get("/v1/audit", params={"target": job["id"], "limit": 3}).json()
    assert first["has_more"]
    assert first["data"] + log(api, target=job["id"], limit=3, after=first["last_id"]) == of_job
    assert log(api, action="POST /v1/jobs", change="created", target_type="jobs") == of_job[-1:]
    assert log(api, since=of_job[0]["created_at"], target_type="jobs", key="key_none") == []
    assert log(api, until="2020-01-01T00:00:00Z") == []
    assert api.client.get("/v1/audit", params={"after": "aud_x"}).status_code == 400


def test_log_is_its_projects_admins(api: Api) -> None:
    api.job()
    assert api.client.get("/v1/audit", headers=api.other).json()["data"] == []
    assert len(api.client.get("/v1/audit", headers=api.admin).json()["data"]) == 3
    assert api.client.get("/v1/audit", headers=api.reader).status_code == 403


@pytest.mark.parametrize("statement", ["UPDATE audit_log SET key_id = 'x'", "DELETE FROM audit_log"])
def test_database_refuses_to_change_the_log(api: Api, statement: str) -> None:
    api.dataset()
    with pytest.raises(DatabaseError, match="append-only"), transaction(api.engine) as session:
        session.execute(text(statement))
    assert len(log(api)) == 1


def test_statement_that_would_pass_by_the_log_is_refused(api: Api) -> None:
    token = acting.set(Acting("proj", "key", "req", "POST /v1/jobs"))
    try:
        for table in (ApiKey, Job):
            with pytest.raises(Unaudited), transaction(api.engine) as session:
                session.execute(update(table).values(name="x"))
    finally:
        acting.reset(token)
