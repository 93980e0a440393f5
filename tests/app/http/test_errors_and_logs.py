"""Every error is problem JSON with a request id; no log line holds a key or what people uploaded."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import text

from app.database import transaction
from app.log import without_secrets
from tests.app.api_harness import Api

CANARY = "cnryquestion"


def logged(capsys: pytest.CaptureFixture[str]) -> tuple[str, list[dict[str, Any]]]:
    """Everything that went to standard error, and its lines as objects."""
    written = capsys.readouterr().err
    return written, [json.loads(line) for line in written.splitlines() if line.startswith("{")]


def test_every_error_is_problem_json_with_the_id_of_its_request(api: Api) -> None:
    for method, url, status in (
        ("GET", "/nothing/here", 404),
        ("GET", "/v1/jobs/job_0", 404),
        ("DELETE", "/v1/jobs", 405),
        ("GET", "/v1/jobs?limit=x", 422),
        ("POST", "/v1/jobs", 422),
        ("GET", "/v1/datasets/a%00b", 400),
        ("GET", "/v1/jobs?after=%00", 400),
    ):
        answer = api.client.request(method, url)
        assert answer.status_code == status, (url, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["status"] == status
        assert problem["request_id"] == answer.headers["x-request-id"]
        assert problem["instance"] == url.split("?")[0].replace("%00", "\x00")
        assert problem["error"]["code"] == problem["code"]
        assert problem["title"]
        assert problem["detail"]


def test_a_fix_is_told_under_its_former_name_too(api: Api) -> None:
    [error] = api.client.get("/v1/jobs?limit=0").json()["errors"]
    assert error["fix"] == error["mend"] == "Send a value that fits."


def test_json_body_longer_than_any_that_makes_sense_is_413(api: Api) -> None:
    body = b'{"kind": "numeric", "text": "' + b"x" * (9 << 20) + b'"}'
    answer = api.client.post("/v1/prompt-sets", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


def test_request_id_of_the_caller_is_kept_where_it_is_a_plain_name(api: Api) -> None:
    kept = api.client.get("/healthz", headers={"x-request-id": "trace-42"})
    replaced = api.client.get("/healthz", headers={"x-request-id": 'a"} {"forged": 1'})
    assert kept.headers["x-request-id"] == "trace-42"
    assert replaced.headers["x-request-id"].startswith("req_")


def test_bug_is_answered_with_500_and_its_trace_is_logged_under_the_request_id(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    app = api.client.app
    assert isinstance(app, FastAPI)
    app.state.offered_models = None
    answer = api.client.get("/v1/models")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Traceback" not in answer.text
    _, lines = logged(capsys)
    [failure] = [line for line in lines if line["event"] == "request_failed"]
    assert failure["request_id"] == answer.headers["x-request-id"] == answer.json()["request_id"]
    assert "list_models" in failure["exception"]


def test_request_is_logged_with_route_and_key_but_no_secret_and_no_data(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = dict(api.client.headers)["authorization"].split("_")[2]
    row = json.dumps({"question": f"{CANARY} + 1", "answer": "2"}) + "\n"
    dataset = api.dataset(row * 1 + '{"question": "1 + 1", "answer": "2"}\n', validation=1, name=CANARY)
    api.client.post("/v1/datasets", params={"kind": "choice", "name": CANARY}, content=row)
    api.client.get(f"/v1/datasets/{dataset['id']}")
    written, lines = logged(capsys)
    uploads = [line for line in lines if line["event"] == "request" and line["method"] == "POST"]
    assert [line["status"] for line in uploads] == [201, 422]
    assert uploads[0]["route"] == "/v1/datasets"
    assert uploads[0]["key_id"].startswith("key_")
    [got] = [line for line in lines if line.get("method") == "GET"]
    assert (got["route"], got["dataset_id"]) == ("/v1/datasets/{dataset_id}", dataset["id"])
    assert secret not in written
    assert CANARY not in written


def test_failing_statement_is_logged_without_its_values(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    with transaction(api.engine) as session:
        session.execute(text("ALTER TABLE examples RENAME TO moved"))
    row = json.dumps({"question": f"{CANARY} + 1", "answer": "2"}) + "\n"
    answer = api.client.post("/v1/datasets", params={"kind": "scratchpad"}, content=row)
    assert answer.status_code == 500
    written, lines = logged(capsys)
    assert [line["error"] for line in lines if line["event"] == "request_failed"]
    on_sqlite = api.engine.dialect.name == "sqlite"
    assert ("INSERT INTO examples" if on_sqlite else "UndefinedTable") in written  # a COPY is not quoted
    assert CANARY not in written
    assert CANARY not in answer.text


def test_secrets_are_struck_out_of_any_log_line() -> None:
    key = f"star_{'a' * 8}_{'b' * 43}_{'c' * 6}"
    event = {
        "event": f"key {key} refused",
        "header": "Authorization: Bearer abc.def",
        "url": "postgresql://star:hunter2@db/star",
        "token": "hf_" + "d" * 34,
        "count": 3,
    }
    cleaned = json.dumps(without_secrets(None, "info", event))
    for secret in ("b" * 43, "abc.def", "hunter2", "d" * 34):
        assert secret not in cleaned
    assert "@db/star" in cleaned
    assert '"count": 3' in cleaned
