"""Deletion and archiving over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.app.api_harness import Api, bearer


def ended_job(api: Api, **changes: Any) -> dict[str, Any]:
    job = api.job(**changes)
    api.client.post(f"/v1/jobs/{job['id']}/cancel")
    return job


def test_deleted_job_is_gone_from_every_route_at_once(sqlite_api: Api) -> None:
    job = ended_job(sqlite_api)
    url = f"/v1/jobs/{job['id']}"
    sqlite_api.client.get(url)  # its view is cached
    assert sqlite_api.client.delete(url).status_code == 204
    for path in ("", "/events", "/iterations", "/rationales", "/answers", "/report", "/adapters"):
        assert sqlite_api.client.get(url + path).status_code == 404, path
    assert sqlite_api.client.get(f"/v1/fine_tuning/jobs/{job['id']}").status_code == 404
    assert sqlite_api.client.get("/v1/jobs").json()["data"] == []
    assert sqlite_api.client.delete(url).status_code == 404


def test_refused_deletion_names_what_depends_on_the_object(api: Api) -> None:
    job = ended_job(api)
    answer = api.client.delete(f"/v1/datasets/{job['dataset']}")
    assert (answer.status_code, answer.json()["code"]) == (409, "has_dependents")
    assert answer.json()["dependents"] == [
        {"object": "job", "id": job["id"], "name": job["name"], "reason": "uses it"}
    ]
    assert job["id"] in answer.json()["detail"]
    assert api.client.delete(f"/v1/prompt-sets/{job['prompt_set']}").status_code == 409
    assert api.client.get(f"/v1/datasets/{job['dataset']}").status_code == 200


def test_active_job_is_refused_with_what_to_do(api: Api) -> None:
    job = api.job()
    answer = api.client.delete(f"/v1/jobs/{job['id']}")
    assert (answer.status_code, answer.json()["code"]) == (409, "job_active")
    assert "Cancel it first" in answer.json()["detail"]


def test_same_file_is_another_dataset_after_the_deletion(api: Api) -> None:
    first = api.dataset()
    assert api.client.delete(f"/v1/datasets/{first['id']}").status_code == 204
    again = api.dataset()
    assert again["id"] != first["id"]
    assert again["sha256"] == first["sha256"]


def test_idempotency_key_of_a_deleted_job_makes_no_second_one_unseen(api: Api) -> None:
    body, key = api.job_body(), {"Idempotency-Key": "once"}
    job = api.client.post("/v1/jobs", json=body, headers=key).json()
    api.client.post(f"/v1/jobs/{job['id']}/cancel")
    api.client.delete(f"/v1/jobs/{job['id']}")
    answer = api.client.post("/v1/jobs", json=body, headers=key)
    assert (answer.status_code, answer.json()["code"]) == (409, "made_and_deleted")


@pytest.mark.parametrize("what", ["jobs", "datasets"])
def test_archived_objects_are_listed_apart_and_read_as_before(api: Api, what: str) -> None:
    job = ended_job(api)
    name = job["id"] if what == "jobs" else job["dataset"]
    url = f"/v1/{what}/{name}"

    def listed(**params: Any) -> list[str]:
        return [one["id"] for one in api.client.get(f"/v1/{what}", params=params).json()["data"]]

    assert api.client.post(f"{url}/archive").json()["archived_at"] is not None
    assert (listed(), listed(archived="true")) == ([], [name])
    assert api.client.get(url).status_code == 200
    assert api.client.post(f"{url}/unarchive").json()["archived_at"] is None
    assert (listed(), listed(archived="true")) == ([name], [])


def test_active_job_cannot_be_archived(api: Api) -> None:
    job = api.job()
    assert api.client.post(f"/v1/jobs/{job['id']}/archive").status_code == 409


def test_audit_log_remembers_who_deleted_what(api: Api) -> None:
    job = ended_job(api)
    for path in (f"jobs/{job['id']}", f"datasets/{job['dataset']}", f"prompt-sets/{job['prompt_set']}"):
        assert api.client.delete(f"/v1/{path}").status_code == 204
    entries = api.client.get("/v1/audit", params={"change": "deleted"}).json()["data"]
    assert [entry["target"] for entry in entries] == [job["prompt_set"], job["dataset"], job["id"]]
    assert {entry["key"] for entry in entries} == {job["created_by"]["key"]}


@pytest.mark.parametrize("who", ["reader", "other"])
def test_only_those_who_may_change_a_project_delete_in_it(api: Api, who: str) -> None:
    job = ended_job(api)
    headers, status = (api.reader, 403) if who == "reader" else (api.other, 404)
    for path in (f"jobs/{job['id']}", f"datasets/{job['dataset']}", f"prompt-sets/{job['prompt_set']}"):
        assert api.client.delete(f"/v1/{path}", headers=headers).status_code == status
    assert api.client.delete("/v1/projects/proj_x", headers=api.admin).status_code == 403


def test_keys_of_a_deleted_project_end_and_its_name_is_free(api: Api) -> None:
    project = api.client.post("/v1/projects", json={"name": "team"}).json()
    made = {"name": "ci", "scopes": ["submit"], "project": project["id"]}
    key = bearer(api.client.post("/v1/api-keys", json=made).json()["key"])
    assert api.client.get("/v1/jobs", headers=key).status_code == 200
    assert api.client.delete(f"/v1/projects/{project['id']}").status_code == 204
    assert api.client.get("/v1/jobs", headers=key).status_code == 401
    assert api.client.get(f"/v1/projects/{project['id']}").status_code == 404
    again = api.client.post("/v1/projects", json={"name": "team"})
    assert (again.status_code, again.json()["id"] != project["id"]) == (201, True)
    [deleted] = api.client.get(
        "/v1/audit", params={"project": project["id"], "target_type": "projects", "change": "deleted"}
    ).json()["data"]
    assert deleted["target"] == project["id"]
    assert api.client.get("/v1/usage", params={"project": project["id"]}).json()["data"] == []


def test_project_that_holds_something_is_deleted_only_with_its_contents(api: Api) -> None:
    other = {**api.other}
    rows = '{"question": "1 + 1", "answer": "2"}\n'
    made = api.client.post("/v1/datasets?kind=numeric", content=rows, headers=other).json()
    project = next(one for one in api.client.get("/v1/projects").json()["data"] if one["name"] == "other")
    answer = api.client.delete(f"/v1/projects/{project['id']}")
    assert (answer.status_code, [one["id"] for one in answer.json()["dependents"]]) == (409, [made["id"]])
    answer = api.client.delete(f"/v1/projects/{project['id']}", params={"contents": "true"})
    assert answer.status_code == 204


def test_own_project_is_refused(api: Api) -> None:
    own = api.client.get("/v1/quota").json()["project"]
    answer = api.client.delete(f"/v1/projects/{own}", params={"contents": "true"})
    assert (answer.status_code, answer.json()["code"]) == (409, "own_project")
