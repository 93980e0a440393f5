"""An Idempotency-Key makes one object of requests that are sent again."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import String, cast, or_, select

from app.database import reading
from app.main import create_app
from app.openapi.document import operations
from app.tables.jobs import IdempotencyKey
from tests.app.api_harness import MODEL, Api, addition_rows, few_shot

MAKES_NOTHING = {
    "sign_in_device": "without a key there is nobody whose request it could be; what it begins expires",
    "sign_in_token": "answers once by itself",
    "webhooks_redeliver": "sends what is there, under its own id",
    "jobs_cancel": "changes a status, once",
    "jobs_pause": "as cancel",
    "jobs_resume": "as cancel",
    "jobs_retry": "as cancel",
    "openai_fine_tuning_cancel": "as cancel",
    "openai_fine_tuning_pause": "as cancel",
    "openai_fine_tuning_resume": "as cancel",
    "api_keys_revoke": "as cancel",
    "shares_revoke": "as cancel",
    "job_verbs_archive": "as cancel",
    "job_verbs_unarchive": "as cancel",
    "datasets_archive": "as cancel",
    "datasets_unarchive": "as cancel",
    "job_verbs_regrade": "reads",
    "prompt_preview_preview": "reads",
    "dataset_previews_preview": "reads",
    "verifiers_run": "reads",
    "verifiers_secret": "shows what follows from the project",
    "workers_release": "as cancel",
    "openai_completions_create": "reads",
    "openai_completions_chat": "reads",
}


def test_one_idempotency_key_makes_one_fine_tuning_job(api: Api) -> None:
    sent = {"file": ("rows.jsonl", addition_rows())}
    file = api.client.post("/v1/files", files=sent, data={"purpose": "fine-tune"}).json()
    body = {
        "model": MODEL,
        "training_file": file["id"],
        "prompt_set": api.prompt_set()["id"],
        "validation": 4,
    }
    key = {"Idempotency-Key": "once"}
    answers = [api.client.post("/v1/fine_tuning/jobs", json=body, headers=key) for _ in range(2)]
    assert [one.status_code for one in answers] == [200, 200], answers[0].text
    assert answers[0].json()["id"] == answers[1].json()["id"]
    other = api.client.post("/v1/fine_tuning/jobs", json={**body, "validation": 5}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


def test_every_post_that_makes_something_takes_an_idempotency_key() -> None:
    posts = {
        operation["operationId"]: {one["name"].lower() for one in operation.get("parameters", [])}
        for _, method, operation in operations(create_app().openapi())
        if method == "post"
    }
    assert {name for name, named in posts.items() if "idempotency-key" not in named} == MAKES_NOTHING.keys()


BODIES: dict[str, dict[str, Any]] = {
    "/v1/api-keys": {"json": {"name": "ci", "scopes": ["read"]}},
    "/v1/webhooks": {"json": {"url": "https://93.184.215.14/hook", "description": "one"}},
    "/v1/projects": {"json": {"name": "team"}},
    "/v1/prompt-sets": {"json": {"name": "few", "kind": "scratchpad", "examples": few_shot()}},
    "/v1/datasets?kind=scratchpad": {"content": addition_rows()},
    "/v1/files": {"files": {"file": ("rows.jsonl", addition_rows())}, "data": {"purpose": "fine-tune"}},
}
OTHER: dict[str, dict[str, Any]] = {
    "/v1/api-keys": {"json": {"name": "other", "scopes": ["read"]}},
    "/v1/webhooks": {"json": {"url": "https://93.184.215.14/other", "description": "one"}},
    "/v1/projects": {"json": {"name": "other"}},
    "/v1/prompt-sets": {"json": {"name": "other", "kind": "scratchpad", "examples": few_shot()}},
    "/v1/datasets?kind=scratchpad": {"content": addition_rows(30)},
    "/v1/files": {"files": {"file": ("rows.jsonl", addition_rows(30))}, "data": {"purpose": "fine-tune"}},
}


def ids(api: Api, path: str) -> list[str]:
    return [one["id"] for one in api.client.get(path.partition("?")[0]).json()["data"]]


@pytest.mark.parametrize("path", BODIES)
def test_a_request_sent_again_under_its_key_makes_one_object(api: Api, path: str) -> None:
    key = {"Idempotency-Key": "once"}
    first = api.client.post(path, **BODIES[path], headers=key)
    assert first.is_success, first.text
    before = ids(api, path)
    again = api.client.post(path, **BODIES[path], headers=key)
    assert again.is_success, again.text
    assert (again.json()["id"], again.headers["Idempotent-Replayed"]) == (first.json()["id"], "true")
    assert ids(api, path) == before
    other = api.client.post(path, **OTHER[path], headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


@pytest.mark.parametrize(
    "path", ["/v1/webhooks", "/v1/prompt-sets", "/v1/datasets?kind=scratchpad", "/v1/files"]
)
def test_a_key_whose_object_was_deleted_makes_no_second_one_unseen(api: Api, path: str) -> None:
    key = {"Idempotency-Key": "once"}
    made = api.client.post(path, **BODIES[path], headers=key).json()["id"]
    assert api.client.delete(f"{path.partition('?')[0]}/{made}").is_success
    again = api.client.post(path, **BODIES[path], headers=key)
    assert (again.status_code, again.json()["code"]) == (409, "made_and_deleted")
    assert made in again.json()["detail"]


def test_the_secret_of_a_key_is_shown_once_and_stored_nowhere(api: Api) -> None:
    header = {"Idempotency-Key": "once"}
    first = api.client.post("/v1/api-keys", **BODIES["/v1/api-keys"], headers=header)
    again = api.client.post("/v1/api-keys", **BODIES["/v1/api-keys"], headers=header)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == {name: value for name, value in first.json().items() if name != "key"}
    assert again.headers["Cache-Control"] == "no-store"
    rotated = [
        api.client.post(
            f"/v1/api-keys/{first.json()['id']}/rotate", json={}, headers={"Idempotency-Key": "again"}
        ).json()
        for _ in range(2)
    ]
    assert rotated[0]["id"] == rotated[1]["id"]
    assert ("key" in rotated[0], "key" in rotated[1]) == (True, False)
    secrets = [first.json()["key"], rotated[0]["key"]]
    with reading(api.engine) as session:
        texts = [cast(column, String) for column in IdempotencyKey.__table__.columns]
        held = or_(*(text.contains(secret[14:57]) for text in texts for secret in secrets))
        assert session.scalars(select(IdempotencyKey.key).where(held)).all() == []


def test_a_webhook_made_again_shows_its_secret_again_and_is_rotated_once(api: Api) -> None:
    header = {"Idempotency-Key": "once"}
    made = [
        api.client.post("/v1/webhooks", **BODIES["/v1/webhooks"], headers=header).json() for _ in range(2)
    ]
    assert made[0] == made[1]
    assert made[0]["secret"]
    path = f"/v1/webhooks/{made[0]['id']}"
    turned = [
        api.client.post(f"{path}/rotate-secret", headers={"Idempotency-Key": "turn"}).json() for _ in range(2)
    ]
    assert turned[0]["secret"] == turned[1]["secret"] != made[0]["secret"]
    sent = [api.client.post(f"{path}/test", headers={"Idempotency-Key": "test"}).json() for _ in range(2)]
    assert sent[0]["id"] == sent[1]["id"]
    assert len(api.client.get(f"{path}/deliveries").json()["data"]) == 1
