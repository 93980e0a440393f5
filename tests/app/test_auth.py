"""Who may call what: every route against no key, a bad one, another project's, one that may only read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from sqlalchemy import update

from app.auth import PUBLIC, UndeclaredScope, check_scopes, route_scope
from app.database import make_engine, transaction
from app.ledger.keys import Scope
from app.main import create_app
from app.models.platform import ApiKey
from app.settings import Settings
from tests.app.apis import MODEL, Api

GUARDED = [
    (method, route.path, route_scope(route))
    for route in create_app(Settings()).routes
    if isinstance(route, APIRoute) and route.path not in PUBLIC
    for method in sorted(route.methods)
]

OPERATORS = ("/metrics", "/v1/projects")  # about all projects
BODIES: dict[str, Any] = {  # of the routes that cannot do without one
    "/v1/jobs/{job_id}/fork": {"from_iteration": 0},
    "/v1/jobs/{job_id}/rationales/{rationale_id}/override": {"verdict": "wrong", "reason": "x"},
    "/v1/jobs/{job_id}/retention": {},
}
ADMINS = ("/v1/api-keys", "/v1/audit")  # about a project's own people


def test_every_route_that_changes_something_asks_for_more_than_read() -> None:
    assert len(GUARDED) > 20
    for method, path, scope in GUARDED:
        wanted = Scope.READ if method == "GET" else Scope.SUBMIT
        wanted = Scope.ADMIN if path.startswith(ADMINS) else wanted
        assert scope is (Scope.OPERATOR if path.startswith(OPERATORS) else wanted), (method, path)


def test_app_with_a_route_that_declares_no_scope_does_not_start() -> None:
    app = FastAPI()

    @app.get("/v1/secrets")
    def secrets() -> str:
        return "everybody reads this"

    with pytest.raises(UndeclaredScope, match="/v1/secrets"):
        check_scopes(app)


def test_no_route_answers_without_a_valid_key(api: Api) -> None:
    del api.client.headers["Authorization"]
    wrong = "star_00000000_" + "0" * 43 + "_000000"
    for method, path, _ in GUARDED:
        url = path.replace("{number}", "1")
        for headers in ({}, {"Authorization": f"Bearer {wrong}"}, {"Authorization": "Basic c3Rhcjpz"}):
            answer = api.client.request(method, url, headers=headers)
            assert answer.status_code == 401, (method, url, answer.text)
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["error"]["type"] == "authentication_error"


def test_key_that_may_only_read_cannot_submit(api: Api) -> None:
    for method, path, scope in GUARDED:
        url = path.replace("{number}", "1")
        answer = api.client.request(method, url, headers=api.reader, json={})
        if scope is not Scope.READ:
            assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope"), url
        else:
            assert answer.status_code in (200, 404, 400), (url, answer.text)


def test_key_of_a_projects_admin_reaches_nothing_of_the_deployment(api: Api) -> None:
    for method, path, scope in GUARDED:
        if scope is Scope.OPERATOR:
            answer = api.client.request(method, path, headers=api.admin, json={})
            assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope"), path


def test_another_projects_job_is_404_on_every_path(api: Api) -> None:
    job = api.job()
    paths = [path for _, path, _ in GUARDED if "{job_id}" in path]
    assert len(paths) > 10
    for method, path, _ in GUARDED:
        if "{job_id}" not in path:
            continue
        url = path.replace("{job_id}", job["id"]).replace("{number}", "0").replace("{rationale_id}", "rat_1")
        answer = api.client.request(method, url, headers=api.other, json=BODIES.get(path))
        assert answer.status_code == 404, (method, url, answer.text)
        assert answer.json()["detail"] == f"There is no job {job['id']}."
    assert api.client.get("/v1/jobs", headers=api.other).json()["data"] == []


def test_another_projects_dataset_cannot_be_trained_on(api: Api) -> None:
    body = api.job_body()
    answer = api.client.post("/v1/jobs", json=body, headers=api.other)
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_dataset")


def test_revoked_key_is_refused_from_the_next_request_on(api: Api) -> None:
    assert api.client.get("/v1/jobs").status_code == 200
    with transaction(api.engine) as session:
        session.execute(update(ApiKey).where(ApiKey.name == "operator").values(scopes=["read"]))
    assert api.client.post("/v1/jobs", json={}).status_code == 403
    with transaction(api.engine) as session:
        session.execute(update(ApiKey).values(revoked_at=ApiKey.created_at))
    assert api.client.get("/v1/jobs").status_code == 401


def test_models_of_the_allow_list_are_everybodys(api: Api) -> None:
    for headers in ({}, api.other, api.reader):
        assert [model["id"] for model in api.client.get("/v1/models", headers=headers).json()["data"]] == [
            MODEL
        ]


def test_health_needs_no_key(api: Api) -> None:
    del api.client.headers["Authorization"]
    assert api.client.get("/healthz").json() == {"status": "ok"}
    assert api.client.get("/readyz").json() == {"status": "ok"}


def test_readiness_fails_while_the_database_does_not_answer(api: Api, tmp_path: Path) -> None:
    app = api.client.app
    assert isinstance(app, FastAPI)
    app.state.engine = make_engine(f"sqlite:///{tmp_path / 'no' / 'such' / 'folder' / 'star.db'}")
    answer = api.client.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
