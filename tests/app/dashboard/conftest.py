from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from tests.app.apis import Api, serve


@dataclass(frozen=True)
class Visitor:
    """What a browser that has signed in sends: the cookie, and with a form its token."""

    api: Api
    client: TestClient

    def get(self, path: str, **params: str) -> Response:
        return self.client.get(f"/dashboard{path}", params=params)

    def post(self, path: str, **fields: str) -> Response:
        data = {"csrf": self.token(), **fields}
        return self.client.post(f"/dashboard{path}", data=data, follow_redirects=False)

    def token(self) -> str:
        return self.get("/jobs").text.split('name="csrf" content="')[1].split('"')[0]


def sign_in(api: Api, key: dict[str, str]) -> Visitor:
    """As the holder of this key; the headers that the API's own client sends are left out."""
    client = TestClient(api.client.app, raise_server_exceptions=False)
    secret = key["Authorization"].removeprefix("Bearer ")
    answer = client.post("/dashboard/sign-in", data={"key": secret}, follow_redirects=False)
    assert answer.status_code == 303, answer.text
    return Visitor(api, client)


@pytest.fixture
def visitor(sqlite_database_url: str, tmp_path: Path) -> Iterator[Visitor]:
    """Signed in as the owner's administrator, beside an API on SQLite with `api.client` as its operator."""
    with serve(sqlite_database_url, tmp_path / "home") as api:
        yield sign_in(api, api.admin)
