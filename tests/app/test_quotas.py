"""Quotas and usage over HTTP: set by operators, refused with what to do, summed from what workers held."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from app.database import clock, reading, transaction
from app.tables.executions import Execution
from app.tables.platform import Project
from app.tables.usage import Usage
from tests.app.api_harness import Api, addition_rows


@pytest.fixture
def project_id(api: Api) -> str:
    with reading(api.engine) as session:
        return session.scalars(select(Project.id).where(Project.name == "owner")).one()


def put(api: Api, project_id: str, **limits: Any) -> dict[str, Any]:
    answer = api.client.put(f"/v1/projects/{project_id}/quota", json=limits)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_quota_is_shown_with_what_is_used_of_it(api: Api, project_id: str) -> None:
    dataset = api.dataset()
    api.job()
    shown = put(api, project_id, queued_jobs=5, dataset_bytes=10**6)
    assert shown == api.client.get("/v1/quota", headers=api.reader).json()
    assert shown == api.client.get(f"/v1/projects/{project_id}/quota").json()
    assert shown["queued_jobs"] == {"limit": 5, "used": 1, "held": 0}
    assert shown["dataset_bytes"] == {"limit": 10**6, "used": dataset["size_bytes"], "held": 0}
    assert shown["gpu_hours"] == {"limit": None, "used": 0, "held": 0}
    assert put(api, project_id)["queued_jobs"]["limit"] is None
    assert api.client.put("/v1/projects/proj_none/quota", json={}).status_code == 404
    refused = api.client.put(f"/v1/projects/{project_id}/quota", json={}, headers=api.admin)
    assert refused.status_code == 403


def test_job_beyond_the_quota_is_refused_with_its_name_its_usage_and_the_mend(
    api: Api, project_id: str
) -> None:
    body = api.job_body()
    put(api, project_id, queued_jobs=1)
    assert api.client.post("/v1/jobs", json=body).status_code == 201
    answer = api.client.post("/v1/jobs", json=body)
    assert (answer.status_code, answer.json()["code"]) == (403, "quota_queued_jobs")
    [error] = answer.json()["errors"]
    assert error["field"] == "quota.queued_jobs"
    assert "1 of 1 are used" in error["reason"]
    assert "cancel one" in error["fix"]
    [job] = api.client.get("/v1/jobs").json()["data"]
    api.client.post(f"/v1/jobs/{job['id']}/cancel")
    assert api.client.post("/v1/jobs", json=body).status_code == 201


def test_dataset_beyond_the_quota_is_refused_and_leaves_nothing(api: Api, project_id: str) -> None:
    size = api.dataset()["size_bytes"]
    put(api, project_id, dataset_bytes=size + 10)
    answer = api.client.post(
        "/v1/datasets", params={"kind": "scratchpad", "validation": 4}, content=addition_rows(20)
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "quota_dataset_bytes")
    assert api.client.get("/v1/quota").json()["dataset_bytes"]["used"] == size


def test_usage_by_day_job_and_phase_sums_to_what_workers_held(api: Api, project_id: str) -> None:
    with transaction(api.engine) as session:
        for number in range(12):
            session.add(
                Usage(
                    project_id=project_id,
                    job_id=f"job_{number % 2}",
                    step_id=f"step_{number}",
                    fence=1,
                    attempt=1,
                    iteration_number=1,
                    phase=("sample", "verify_adapter")[number % 3 == 0],
                    worker_id="worker:1",
                    gpu_seconds=1.5 * number,
                    outcome="succeeded",
                    created_at=clock(-86_400.0 * (number % 4)),
                )
            )
            session.add(
                Execution(
                    project_id=project_id,
                    program_sha256=str(number),
                    job_id=f"job_{number % 2}",
                    phase=("sample", "evaluate")[number % 3 == 0],
                    result={},
                    cpu_ms=10 * number,
                    created_at=clock(-86_400.0 * (number % 4)),
                )
            )
    with reading(api.engine) as session:
        total = session.scalar(select(func.sum(Usage.gpu_seconds)))
    rows, after = [], None
    while True:
        params = {"limit": 3} | ({"after": after} if after else {})
        page = api.client.get("/v1/usage", params=params, headers=api.reader).json()
        rows += page["data"]
        if not page["has_more"]:
            break
        after = page["last_id"]
    assert sum(row["gpu_seconds"] for row in rows) == total
    assert sum(row["claims"] for row in rows) == 12
    assert sum(row["executions"] for row in rows) == 12
    assert sum(row["sandbox_seconds"] for row in rows) == pytest.approx(0.66)
    assert {row["phase"] for row in rows if row["executions"]} == {"sample", "evaluate"}
    places = [(row["day"], row["job"], row["phase"]) for row in rows]
    assert places == sorted(set(places))
    assert len({row["id"] for row in rows}) == len(rows) > 3
    assert rows == sorted(rows, key=lambda row: (row["day"], row["job"], row["phase"]))
    last = rows[-1]
    only = {"job": last["job"], "phase": last["phase"], "since": last["day"], "until": last["day"]}
    assert api.client.get("/v1/usage", params=only).json()["data"] == [last]
    assert api.client.get("/v1/usage", headers=api.other).json()["data"] == []
    assert api.client.get("/v1/usage", params={"after": "usage_x"}).status_code == 400


def test_files_count_as_datasets_do_until_they_are_deleted(api: Api, project_id: str) -> None:
    def send(content: bytes) -> Any:
        form: dict[str, Any] = {"files": {"file": ("rows", content)}, "data": {"purpose": "fine-tune"}}
        return api.client.post("/v1/files", **form)

    put(api, project_id, dataset_bytes=1000)
    first = send(b"a" * 700)
    assert first.status_code == 200, first.text
    assert api.client.get("/v1/quota").json()["dataset_bytes"]["used"] == 700
    refused = send(b"b" * 400)
    assert (refused.status_code, refused.json()["code"]) == (403, "quota_dataset_bytes")
    stored = [path for path in Path(api.settings.resolved_storage_url()).rglob("*") if path.is_file()]
    assert [path.stat().st_size for path in stored] == [700]
    assert api.client.delete(f"/v1/files/{first.json()['id']}").status_code == 200
    assert api.client.get("/v1/quota").json()["dataset_bytes"]["used"] == 0
    assert send(b"b" * 400).status_code == 200
