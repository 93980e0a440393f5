"""What a stranger can make the API do: nothing that needs their body, and little that needs their headers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastapi.routing import APIRoute
from sqlalchemy import event
from starlette.types import Message

from app.dashboard.application import create_dashboard
from app.database import transaction
from app.http.admission import LINGER_BYTES, SIGN_IN
from app.http.uploads import JSON_BYTES, JSON_VALUES
from app.ledger.platform.keys import Scope, create_key, create_project, revoke
from app.main import UPLOADS, create_app
from app.settings import Settings
from tests.app.api_harness import Api, bearer, serve

APP = create_app(Settings())
TAKES_BODY = ("POST", "PUT", "PATCH", "DELETE")
PATHS = [
    (method, prefix + route.path.replace(":path}", "}"))
    for prefix, app in (("", APP), ("/dashboard", create_dashboard(APP)))
    for route in app.routes
    if isinstance(route, APIRoute) and prefix + route.path not in SIGN_IN
    for method in route.methods & {*TAKES_BODY}
]
WRONG = "star_00000000_" + "0" * 43 + "_000000"


class Sender:
    """A client that has a body to send, and counts how much of it was asked for before the answer."""

    def __init__(self, chunks: int = 100, chunk: bytes = b"x" * 100_000) -> None:
        self.left, self.chunk = chunks, chunk
        self.read_before_answer = 0
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.answer = b""

    async def receive(self) -> Message:
        self.read_before_answer += self.status is None
        self.left -= 1
        if self.left < 0:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": self.chunk, "more_body": self.left > 0}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.answer += message.get("body", b"")


def sent(api: Api, method: str, path: str, sender: Sender, **headers: str) -> Sender:
    given = {"content-type": "application/json", "content-length": "10000000", **headers}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "scheme": "http",
        "query_string": b"kind=numeric",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        "client": ("192.0.2.1", 1),
        "server": ("testserver", 80),
    }
    assert api.client.portal is not None
    api.client.portal.call(api.client.app, scope, sender.receive, sender.send)
    return sender


@pytest.mark.parametrize("key", [None, WRONG])
def test_no_route_reads_a_byte_of_a_body_before_it_knows_the_key(sqlite_api: Api, key: str | None) -> None:
    assert len(PATHS) > 40
    for method, path in PATHS:
        headers = {"x-csrf-token": "x"}
        if key is not None:
            headers |= {"cookie": f"star_key={key}", "authorization": f"Bearer {key}"}
        sender = sent(sqlite_api, method, path, Sender(), **headers)
        page = path.startswith("/dashboard")
        assert sender.status in ((401, 303, 429) if page else (401, 429)), (method, path, sender.status)
        assert sender.read_before_answer == 0, (method, path)
        assert sender.headers["connection"] == "close"


def test_a_refused_body_is_thrown_away_only_so_far(sqlite_api: Api) -> None:
    sender = sent(sqlite_api, "POST", "/v1/jobs", Sender(chunks=1000))
    assert json.loads(sender.answer)["code"] == "no_api_key"
    assert 1000 - sender.left == LINGER_BYTES // 100_000 + 1


def test_a_key_that_may_not_ask_has_no_body_either(sqlite_database_url: str, tmp_path: Path) -> None:
    with serve(sqlite_database_url, tmp_path / "home", rate_limit="1/hour") as api:
        assert api.client.get("/v1/jobs").status_code == 200
        sender = sent(api, "POST", "/v1/files", Sender(), authorization=api.client.headers["Authorization"])
    assert (sender.status, sender.read_before_answer) == (429, 0)


def test_health_reads_no_body(sqlite_api: Api) -> None:
    for path in ("/healthz", "/readyz", "/openapi.json", "/docs"):
        sender = sent(sqlite_api, "GET", path, Sender())
        assert (sender.status, sender.read_before_answer) == (200, 0), path


def test_what_takes_longer_bodies_is_there() -> None:
    assert {path for method, path in PATHS if method == "POST"} >= UPLOADS


def test_a_body_that_is_no_upload_is_refused_beyond_its_limit(sqlite_api: Api) -> None:
    key = sqlite_api.client.headers["Authorization"]
    for method, path in PATHS:
        if path in UPLOADS or path.startswith("/dashboard"):
            continue
        sender = sent(sqlite_api, method, path, Sender(), authorization=key)
        if sender.read_before_answer:  # not every method here takes a body
            assert sender.status == 413, (method, path, sender.answer)
            assert sender.read_before_answer == JSON_BYTES // 100_000 + 1


def test_a_json_body_of_too_many_values_is_refused(sqlite_api: Api) -> None:
    body = "[" + "[]," * JSON_VALUES + "[]]"
    answer = sqlite_api.client.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert len(body) < JSON_BYTES


def test_an_answer_names_so_many_errors_and_no_more(sqlite_api: Api) -> None:
    body = {f"field_{number}": 0 for number in range(10_000)}
    answer = sqlite_api.client.post("/v1/jobs", json=body)
    assert (answer.status_code, len(answer.json()["errors"])) == (422, 100)


@pytest.mark.parametrize(("idle", "whole"), [(0.05, 60.0), (60.0, 0.05)])
def test_a_body_that_stops_coming_is_given_up(
    sqlite_database_url: str, tmp_path: Path, idle: float, whole: float
) -> None:
    class Stalled(Sender):
        async def receive(self) -> Message:
            if self.left < 100:
                await anyio.sleep_forever()
            return await super().receive()

    changes = {"body_idle_seconds": idle, "body_seconds": whole, "upload_body_seconds": whole}
    with serve(sqlite_database_url, tmp_path / "home", **changes) as api:
        key = api.client.headers["Authorization"]
        for path, type_ in (
            ("/v1/jobs", "application/json"),
            ("/v1/datasets", "text/csv"),
            ("/v1/files", "multipart/form-data; boundary=x"),
        ):
            extra: dict[str, Any] = {"authorization": key, "content-type": type_}
            stalled = Stalled(chunk=b"--x\r\n" if "form" in type_ else b"x")
            assert sent(api, "POST", path, stalled, **extra).status == 408, path


def test_wrong_keys_of_one_address_cost_no_query_after_some(sqlite_database_url: str, tmp_path: Path) -> None:
    with serve(sqlite_database_url, tmp_path / "home", wrong_key_limit="3/hour") as api:
        with transaction(api.engine) as session:
            gone = create_key(session, create_project(session, "owner"), "gone", [Scope.READ])
            late = create_key(session, create_project(session, "owner"), "late", [Scope.READ])
            revoke(session, "key_" + gone.split("_")[1])
        assert api.client.get("/v1/models").status_code == 200  # this key is known from now on
        found = [api.client.get("/v1/models", headers=bearer(gone)).status_code for _ in range(3)]
        statements: list[str] = []
        engine = api.client.app.state.engine  # type: ignore[attr-defined]
        event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
        refused = api.client.get("/v1/models", headers=bearer(gone))
        assert (found, refused.status_code, statements) == ([401] * 3, 429, [])
        assert refused.json()["code"] == "too_many_wrong_keys"
        assert refused.headers["ratelimit-policy"] == '"address";q=3;w=3600'
        assert int(refused.headers["retry-after"]) > 3500
        assert api.client.get("/v1/models").status_code == 200
        assert api.client.get("/v1/models", headers=bearer(late)).status_code == 429
        sender = sent(api, "GET", "/v1/presets", Sender(chunks=1), authorization=f"Bearer {late}")
        assert sender.status == 200  # from another address


def test_all_keys_of_a_project_share_a_limit(sqlite_database_url: str, tmp_path: Path) -> None:
    with serve(sqlite_database_url, tmp_path / "home", project_rate_limit="3/hour") as api:
        found = [api.client.get("/v1/jobs", headers=key) for key in (api.admin, api.reader) * 2]
        assert [answer.status_code for answer in found] == [200, 200, 200, 429]
        assert found[3].headers["ratelimit-policy"] == '"project";q=3;w=3600'
        assert "This project has asked 3 times" in found[3].json()["detail"]
        assert api.client.get("/v1/jobs", headers=api.other).status_code == 200


def test_signing_in_counts_wrong_keys_too(sqlite_database_url: str, tmp_path: Path) -> None:
    with serve(sqlite_database_url, tmp_path / "home", wrong_key_limit="2/hour") as api:
        found = [api.client.post("/dashboard/sign-in", data={"key": WRONG}) for _ in range(3)]
    assert [answer.status_code for answer in found] == [401, 401, 429]
