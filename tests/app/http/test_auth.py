"""Who may call what: every route against no key, bad ones, another project's, and one of each scope."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from sqlalchemy import update

from app import broker
from app.database import make_engine, transaction
from app.http.admission import SIGN_IN
from app.http.auth import PUBLIC, UndeclaredScope, check_scopes, route_scope
from app.ledger.platform.keys import Scope, create_key, create_project
from app.main import create_app
from app.openapi.examples import BODIES, PARAMETERS
from app.settings import Settings
from app.tables.platform import ApiKey
from tests.app.api_harness import MODEL, Api, bearer, serve


@dataclass(frozen=True)
class Route:
    """An operation as somebody would ask for it: with the examples of the OpenAPI document."""

    method: str
    path: str
    scope: Scope | None
    body: Any

    def url(self, **names: Any) -> str:
        return self.path.replace(":path}", "}").format(**{**PARAMETERS, **names})


GUARDED = [
    Route(method, route.path, route_scope(route), BODIES.get(route.unique_id, {}).get("application/json"))
    for route in create_app(Settings()).routes
    if isinstance(route, APIRoute) and route.path not in PUBLIC | SIGN_IN
    for method in sorted(route.methods)
]
OPERATORS = ("/metrics", "/v1/projects", "/v1/base-models")  # about all projects
OPERATES = {("POST", "/v1/workers/{worker_id}/release")}
ADMINS = ("/v1/api-keys", "/v1/audit")  # about a project's own people
COMPUTES = ("/preview", "/regrade", "/verifiers/run")  # these take a body and change nothing
SETTLES = {("PUT", "/v1/data-retention"), ("PUT", "/v1/sharing")}  # what becomes of a project's own texts
COSTS = ("/merged",)  # a server of models makes it while it is sent


def test_every_route_that_changes_something_asks_for_more_than_read() -> None:
    assert len(GUARDED) > 60
    for route in GUARDED:
        reads = route.method == "GET" or route.path.endswith(COMPUTES)
        reads = reads and not route.path.endswith(COSTS)
        wanted = Scope.READ if reads else Scope.SUBMIT
        operates = (route.method, route.path) in OPERATES
        settles = (route.method, route.path) in SETTLES
        wanted = Scope.ADMIN if settles or route.path.startswith(ADMINS) else wanted
        operates = operates or route.path.startswith(OPERATORS)
        assert route.scope is (Scope.OPERATOR if operates else wanted), route


def test_app_with_a_route_that_declares_no_scope_does_not_start() -> None:
    app = FastAPI(docs_url=None, redoc_url=None)

    @app.get("/v1/secrets")
    def secrets() -> str:
        return "everybody reads this"

    with pytest.raises(UndeclaredScope, match="/v1/secrets"):
        check_scopes(app)


def test_no_route_answers_without_a_valid_key(api: Api) -> None:
    del api.client.headers["Authorization"]
    wrong = "star_00000000_" + "0" * 43 + "_000000"
    for route in GUARDED:
        for headers in ({}, {"Authorization": f"Bearer {wrong}"}, {"Authorization": "Basic c3Rhcjpz"}):
            answer = api.client.request(route.method, route.url(), headers=headers, json=route.body)
            assert answer.status_code == 401, (route, answer.text)
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["error"]["type"] == "authentication_error"


@pytest.mark.parametrize("scope", list(Scope))
def test_every_route_is_open_to_the_keys_with_its_scope_and_to_no_other(api: Api, scope: Scope) -> None:
    with transaction(api.engine) as session:
        headers = bearer(create_key(session, create_project(session, "owner"), scope.value, [scope]))
    for route in GUARDED:
        answer = api.client.request(route.method, route.url(), headers=headers, json=route.body)
        refused = answer.status_code == 403 and answer.json()["code"] == "missing_scope"
        assert route.scope is not None
        assert refused is not scope.allows(route.scope), (route, answer.text)
        assert answer.status_code < 500, (route, answer.text)
        assert answer.status_code != 401, (route, answer.text)


def test_another_projects_job_is_404_on_every_path(api: Api) -> None:
    job = api.job()["id"]
    about_jobs = [route for route in GUARDED if "{job_id}" in route.path]
    assert len(about_jobs) > 25
    for route in about_jobs:
        url = route.url(job_id=job, number=0)
        answer = api.client.request(route.method, url, headers=api.other, json=route.body)
        assert answer.status_code == 404, (route, answer.text)
        assert answer.json()["detail"] == f"There is no job {job}."
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
    assert api.client.get("/readyz").json() == {"status": "ok", "broker": "unknown"}


def test_readiness_tells_of_the_broker(
    sqlite_database_url: str, empty_valkey_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "KNOWN_SECONDS", 0.0)
    with serve(sqlite_database_url, tmp_path / "home", broker_url=empty_valkey_url) as api:
        assert api.client.get("/readyz").json() == {"status": "ok", "broker": "ok"}
        app = api.client.app
        assert isinstance(app, FastAPI)
        app.state.broker = broker.Broker("redis://127.0.0.1:1/0")
        answer = api.client.get("/readyz")  # jobs are taken all the same
        assert (answer.status_code, answer.json()["broker"]) == (200, "away")


def test_readiness_fails_while_the_database_does_not_answer(api: Api, tmp_path: Path) -> None:
    app = api.client.app
    assert isinstance(app, FastAPI)
    app.state.engine = make_engine(f"sqlite:///{tmp_path / 'no' / 'such' / 'folder' / 'star.db'}")
    answer = api.client.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
