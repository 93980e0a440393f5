from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from tests import databases
from tests.app.api_harness import Api, addition_rows, serve, worker
from tests.factories import CONFIG, SCRIPT


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


@dataclass(frozen=True)
class Finished:
    """A job of two iterations that has ended; the ids of its examples are markup."""

    visitor: Visitor
    job: str

    def api(self, path: str, **params: Any) -> Any:
        """What the API answers about the job."""
        answer = self.visitor.api.client.get(f"/v1/jobs/{self.job}{path}", params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def get(self, path: str, **params: str) -> Response:
        return self.visitor.get(f"/jobs/{self.job}{path}", **params)


@pytest.fixture(scope="package")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    folder = tmp_path_factory.mktemp("finished")
    url = f"sqlite:///{folder / 'star.db'}"
    databases.migrate(url)
    with serve(url, folder / "home", sampler="scripted", sampler_script=SCRIPT) as api:
        rows = [json.loads(row) for row in addition_rows(24).splitlines()]
        named = "".join(json.dumps({**row, "id": f"<b>{n}</b>/{n}"}) + "\n" for n, row in enumerate(rows))
        dataset = api.dataset(named, validation=8)["id"]
        config = {name: value for name, value in CONFIG.items() if name != "kind"}
        config |= {"evaluation": {"test_time": {"samples": 3}}}
        job = api.job(dataset=dataset, config=config, name="<i>addition</i>")
        with worker(api) as work_off:
            work_off()
        yield Finished(sign_in(api, api.admin), job["id"])
