"""Every error is problem JSON with a request id; no log line holds a key or what people uploaded."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import text

from app.database import make_engine, transaction
from app.http.admission import Keys
from app.http.rate_limits import RateLimits, Strangers
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


def test_what_the_platform_lacks_is_told_in_a_status_of_its_own(
    sqlite_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = {"files": {"file": ("rows", b"some")}, "data": {"purpose": "fine-tune"}}

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    made = sqlite_api.client.post("/v1/files", **form).json()["id"]  # type: ignore[arg-type]
    with monkeypatch.context() as patch:
        patch.setattr("app.storage._put_local", full)
        answer = sqlite_api.client.post("/v1/files", **form)  # type: ignore[arg-type]
        assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
    for stored in Path(sqlite_api.settings.resolved_storage_url()).rglob("*"):
        if stored.is_file():
            stored.unlink()
    answer = sqlite_api.client.get(f"/v1/files/{made}/content")
    assert (answer.status_code, answer.json()["code"]) == (410, "bytes_gone")


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/job_0", "/dashboard/jobs"])
def test_a_database_that_is_away_is_503_with_a_time_to_try_again(
    sqlite_api: Api, tmp_path: Path, path: str
) -> None:
    app = sqlite_api.client.app
    assert isinstance(app, FastAPI)
    key = sqlite_api.client.headers["Authorization"].removeprefix("Bearer ")
    sqlite_api.client.cookies.set("star_key", key, path="/dashboard")
    away = make_engine(f"sqlite:///{tmp_path / 'no' / 'folder' / 'star.db'}")
    app.state.engine = app.state.polled_jobs._engine = away  # of the routes, and of polls
    answer = sqlite_api.client.get(path)
    assert (answer.status_code, answer.headers.get("retry-after")) == (503, "5"), answer.text
    app.state.keys = Keys(away, RateLimits(sqlite_api.settings), Strangers(sqlite_api.settings))
    answer = sqlite_api.client.get(path)
    assert (answer.status_code, answer.headers.get("retry-after")) == (503, "5"), answer.text


@pytest.mark.parametrize(
    "query",
    [
        "/v1/jobs?created_after=9999-12-31T23:59:59-14:00",
        "/v1/jobs?created_before=0001-01-01T00:00:00%2B14:00",
        "/v1/audit?since=0001-01-01T00:00:00%2B14:00",
        "/v1/audit?until=9999-12-31T23:59:59-14:00",
        "/v1/usage?until=9999-12-31",
        "/v1/usage?since=0001-01-01",
    ],
)
def test_a_time_that_no_calendar_of_ours_has_is_refused(sqlite_api: Api, query: str) -> None:
    answer = sqlite_api.client.get(query)
    assert answer.status_code == 422, answer.text
    assert "a year from 1970 to 8999" in answer.json()["errors"][0]["reason"]


def test_a_deadline_out_of_range_is_refused(sqlite_api: Api) -> None:
    body = sqlite_api.job_body(budget={"deadline": "9999-12-31T23:59:59-14:00"})
    answer = sqlite_api.client.post("/v1/jobs", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "budget.deadline")
