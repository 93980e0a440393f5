"""Keys over HTTP: made, listed, rotated and revoked by a project's admins; projects by operators."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, update

from app.database import clock, reading, transaction
from app.tables.platform import ApiKey
from tests.app.api_harness import Api, bearer


def made(api: Api, headers: dict[str, str] | None = None, **body: Any) -> dict[str, Any]:
    answer = api.client.post("/v1/api-keys", json={"name": "ci", **body}, headers=headers)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/v1/api-keys/{answer.json()['id']}"
    assert answer.headers["cache-control"] == "no-store"
    return dict(answer.json())


def status_with(api: Api, key: str) -> int:
    return api.client.get("/v1/jobs", headers=bearer(key)).status_code


def test_made_key_works_and_its_secret_is_shown_once(api: Api) -> None:
    key = made(api, scopes=["read"])
    assert status_with(api, key["key"]) == 200
    shown = api.client.get(f"/v1/api-keys/{key['id']}").json()
    listed = api.client.get("/v1/api-keys").json()["data"]
    assert "key" not in shown
    assert shown == listed[0]
    secret = key["key"].split("_")[2]
    assert secret not in api.client.get("/v1/api-keys").text
    refused = api.client.post("/v1/jobs", json={}, headers=bearer(key["key"]))
    assert (refused.status_code, refused.json()["code"]) == (403, "missing_scope")


def test_pages_of_keys_hold_each_key_once(api: Api) -> None:
    expected = {made(api, headers=api.other, name=f"key {number}")["id"] for number in range(4)}
    found, after = [], None
    while True:
        params = {"limit": 2} | ({"after": after} if after else {})
        page = api.client.get("/v1/api-keys", params=params, headers=api.other).json()
        found += [key["id"] for key in page["data"]]
        if not page["has_more"]:
            break
        after = page["last_id"]
    assert len(found) == len(set(found)) == 5
    assert set(found[:4]) == expected


def test_revoked_key_is_refused_by_the_next_request(api: Api) -> None:
    key = made(api)
    assert status_with(api, key["key"]) == 200
    first = api.client.post(f"/v1/api-keys/{key['id']}/revoke")
    assert first.status_code == 200, first.text
    assert first.json()["revoked_at"] is not None
    assert status_with(api, key["key"]) == 401
    assert api.client.post(f"/v1/api-keys/{key['id']}/revoke").json() == first.json()
    rotated = api.client.post(f"/v1/api-keys/{key['id']}/rotate", json={})
    assert (rotated.status_code, rotated.json()["code"]) == (409, "key_revoked")


def test_rotated_key_lives_beside_the_new_one_until_its_grace_is_over(api: Api) -> None:
    old = made(api, scopes=["read"])
    answer = api.client.post(f"/v1/api-keys/{old['id']}/rotate", json={"grace_seconds": 600})
    assert answer.status_code == 201, answer.text
    new = answer.json()
    assert (new["replaces"], new["name"], new["scopes"]) == (old["id"], "ci", ["read"])
    assert [status_with(api, old["key"]), status_with(api, new["key"])] == [200, 200]
    with transaction(api.engine) as session:
        in_time = ApiKey.expires_at.between(clock(590), clock(600))
        assert session.scalar(select(in_time).where(ApiKey.id == old["id"]))
        session.execute(update(ApiKey).where(ApiKey.id == old["id"]).values(expires_at=clock(-1)))
    assert [status_with(api, old["key"]), status_with(api, new["key"])] == [401, 200]


def test_rotation_never_prolongs_a_key_and_gives_the_new_one_the_same_time(api: Api) -> None:
    old = made(api, expires_in_seconds=100)
    new = api.client.post(f"/v1/api-keys/{old['id']}/rotate", json={"grace_seconds": 600}).json()
    assert api.client.get(f"/v1/api-keys/{old['id']}").json()["expires_at"] == old["expires_at"]
    with reading(api.engine) as session:
        rows = {row.id: row for row in session.scalars(select(ApiKey))}
    lives = [
        (rows[key["id"]].expires_at - rows[key["id"]].created_at).total_seconds()  # type: ignore[operator]
        for key in (old, new)
    ]
    assert lives == pytest.approx([100, 100], abs=1)


def test_no_key_makes_or_touches_one_that_may_do_more(api: Api) -> None:
    operators = made(api, scopes=["operator"])["id"]
    for path, body in (
        ("/v1/api-keys", {"name": "more", "scopes": ["operator"]}),
        (f"/v1/api-keys/{operators}/rotate", {}),
        (f"/v1/api-keys/{operators}/revoke", {}),
    ):
        answer = api.client.post(path, json=body, headers=api.admin)
        assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope"), path


def test_keys_of_another_project_are_404_except_to_operators(api: Api) -> None:
    theirs = made(api, headers=api.other)
    project = theirs["project"]
    for method, path in (
        ("GET", f"/v1/api-keys/{theirs['id']}"),
        ("POST", f"/v1/api-keys/{theirs['id']}/rotate"),
        ("POST", f"/v1/api-keys/{theirs['id']}/revoke"),
        ("GET", f"/v1/api-keys?project={project}"),
        ("GET", f"/v1/api-keys?after={theirs['id']}"),
    ):
        assert api.client.request(method, path, headers=api.admin, json={}).status_code == 404, path
    stranger = api.client.post("/v1/api-keys", json={"name": "x", "project": project}, headers=api.admin)
    assert stranger.status_code == 404
    listed = api.client.get("/v1/api-keys", params={"project": project}).json()["data"]
    assert listed[0]["id"] == theirs["id"]
    assert api.client.post(f"/v1/api-keys/{theirs['id']}/revoke").status_code == 200
    assert status_with(api, theirs["key"]) == 401


def test_operator_makes_a_project_and_its_first_key(api: Api) -> None:
    answer = api.client.post("/v1/projects", json={"name": "new team"})
    assert answer.status_code == 201, answer.text
    project = answer.json()
    again = api.client.post("/v1/projects", json={"name": "new team"})
    assert (again.status_code, again.json()) == (200, project)
    assert api.client.get(f"/v1/projects/{project['id']}").json() == project
    assert api.client.get("/v1/projects").json()["data"][0] == project
    assert api.client.get("/v1/projects/proj_none").status_code == 404
    key = made(api, project=project["id"], scopes=["admin"])
    assert key["project"] == project["id"]
    assert made(api, headers=bearer(key["key"]))["project"] == project["id"]
