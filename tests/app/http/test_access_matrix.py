"""Every operation of the OpenAPI document against 17 kinds of callers, about objects that exist.

Generated from the document: a new route is in it without a change here. What each caller may is decided by
the table of PRINCIPALS and the operation's `x-required-scope`, not by the code that is tested.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import update
from starlette.testclient import TestClient

from app.database import transaction
from app.ledger.platform.keys import Scope, create_key, create_project, revoke
from app.main import create_app
from app.openapi.document import operations
from app.openapi.examples import PARAMETERS
from app.settings import Settings
from app.tables.platform import ApiKey
from tests import databases
from tests.app.api_harness import MODEL, Api, addition_rows, serve, worker
from tests.factories import CONFIG, SCRIPT

JSON = "application/json"
SPEC = create_app(Settings()).openapi()
OPERATIONS = [
    (method.upper(), path, operation.get("x-required-scope"), operation)
    for path, method, operation in operations(SPEC)
]
EVERYBODYS = {"model_id", "worker_id"}  # what a path may name that belongs to no project


@dataclass(frozen=True)
class Principal:
    name: str
    project: str | None  # whose objects it may see; None: it is nobody
    scope: Scope | None = None


PRINCIPALS = (
    Principal("operator", "owner", Scope.OPERATOR),
    Principal("admin", "owner", Scope.ADMIN),
    Principal("submit", "owner", Scope.SUBMIT),
    Principal("read", "owner", Scope.READ),
    Principal("other's admin", "other", Scope.ADMIN),
    Principal("other's submit", "other", Scope.SUBMIT),
    Principal("other's read", "other", Scope.READ),
    Principal("revoked", None),
    Principal("expired", None),
    Principal("no key", None),
    Principal("wrong secret", None),
    Principal("not a key", None),
    Principal("key as basic", None),
    Principal("key twice", None),
    Principal("key in the query", None),
    Principal("key in upper case", None),
    Principal("cookie of the dashboard", None),  # for the dashboard's pages alone
)


@dataclass(frozen=True)
class Site:
    api: Api
    ids: dict[str, Any]  # of the owner's objects, by the path parameter that names them
    sent: dict[str, dict[str, Any]] = field(default_factory=dict)  # what each principal adds to a request

    def ask(self, principal: Principal, method: str, path: str, operation: dict[str, Any]) -> Any:
        """The operation about the owner's objects, as its example asks it."""
        content = operation.get("requestBody", {}).get("content", {})
        example = content.get(JSON, {}).get("example")
        text = json.dumps(example)
        for name, value in self.ids.items():  # the example names objects too: jobs, datasets
            text = text.replace(json.dumps(PARAMETERS[name]), json.dumps(value))
        more = dict(self.sent[principal.name])
        if example is not None:
            more |= {"json": json.loads(text)}
        client = TestClient(
            self.api.client.app, raise_server_exceptions=False
        )  # not entered: it runs already
        client.cookies.update(more.pop("cookies", {}))
        client.portal = self.api.client.portal
        return client.request(method, path.format(**self.ids), **more)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("matrix")
    url = f"sqlite:///{home / 'star.db'}"
    databases.migrate(url)
    free = {"rate_limit": "1000000/minute", "project_rate_limit": "1000000/minute"}
    scripted = {"sampler": "scripted", "sampler_script": SCRIPT, "shard_examples": 6}
    with serve(url, home / "home", **scripted, **free, webhook_allowed_hosts=["hooks.test"]) as api:
        site = Site(api, objects(api))
        site.sent.update(credentials(api))
        yield site


def objects(api: Api) -> dict[str, Any]:
    """One of everything that a path can name."""
    ask = api.client
    dataset = api.dataset(addition_rows(24), validation=8)["id"]
    config = {name: value for name, value in CONFIG.items() if name != "kind"}
    job = api.job(dataset=dataset, config=config)["id"]
    with worker(api) as work_off:
        work_off()
    adapter = ask.get(f"/v1/jobs/{job}/adapters").json()["data"][0]
    rationale = ask.get(f"/v1/jobs/{job}/rationales").json()["data"][0]
    webhook = ask.post("/v1/webhooks", json={"url": "https://hooks.test/"}).json()["id"]
    file = ask.post("/v1/files", files={"file": ("a.jsonl", b"{}")}, data={"purpose": "fine-tune"})
    generated = ask.post(
        f"/v1/adapters/{adapter['id']}/generate", json={"questions": [{"question": "1 + 1"}]}
    )
    return {
        "adapter_id": adapter["id"],
        "api_key_id": ask.get("/v1/api-keys").json()["data"][0]["id"],
        "dataset_id": dataset,
        "delivery_id": ask.post(f"/v1/webhooks/{webhook}/test").json()["id"],
        "example_id": rationale["example"]["id"],
        "file_id": file.json()["id"],
        "job_id": job,
        "model_id": ask.get("/v1/models").json()["data"][0]["id"],
        "number": 1,
        "path": adapter["files"][0]["path"],
        "probe_id": ask.post("/v1/jobs", json=api.job_body(dataset=dataset, dry_run=True, probe=20)).json()[
            "probe"
        ]["id"],
        "promotion_id": ask.post(
            f"/v1/adapters/{adapter['id']}/promote", json={"force": True, "reason": "a test"}
        ).json()["id"],
        "project_id": ask.get("/v1/projects").json()["data"][-1]["id"],
        "prompt_set_id": ask.get("/v1/prompt-sets").json()["data"][0]["id"],
        "rationale_id": rationale["id"],
        "share_id": ask.post(f"/v1/jobs/{job}/shares", json={}).json()["id"],
        "study_id": ask.post(f"/v1/jobs/{job}/studies", json={"only_right": False}).json()["id"],
        "trial_id": generated.json()["id"],
        "webhook_id": webhook,
        "worker_id": ask.get("/v1/workers").json()["data"][0]["id"],
        "draft_id": ask.post("/v1/prompt-drafts", json={"model": MODEL, "dataset": dataset}).json()["id"],
    }


def credentials(api: Api) -> dict[str, dict[str, Any]]:
    sent: dict[str, dict[str, Any]] = {}
    with transaction(api.engine) as session:
        projects = {name: create_project(session, name) for name in ("owner", "other")}
        for principal in PRINCIPALS:
            scope, project = principal.scope or Scope.ADMIN, projects[principal.project or "owner"]
            key = create_key(session, project, principal.name, [scope])
            sent[principal.name] = {"headers": {"Authorization": f"Bearer {key}"}}
        revoke(session, key_id(sent["revoked"]))
        expired = update(ApiKey).where(ApiKey.id == key_id(sent["expired"]))
        session.execute(expired.values(expires_at=ApiKey.created_at))
    good = {name: sent[name]["headers"]["Authorization"] for name in sent}
    sent["no key"] = {}
    last = good["wrong secret"][-8]
    sent["wrong secret"]["headers"]["Authorization"] = (
        good["wrong secret"][:-8] + ("a" if last != "a" else "b") + good["wrong secret"][-7:]
    )
    sent["not a key"]["headers"]["Authorization"] = "Bearer ' OR 1=1 --"
    sent["key as basic"]["headers"]["Authorization"] = good["key as basic"].replace("Bearer", "Basic")
    twice = [("Authorization", good["key twice"]), ("Authorization", good["key twice"])]
    sent["key twice"] = {"headers": twice}
    sent["key in the query"] = {"params": {"key": good["key in the query"], "api_key": good["admin"][7:]}}
    sent["key in upper case"]["headers"]["Authorization"] = good["key in upper case"].upper()
    sent["cookie of the dashboard"] = {"cookies": {"star_key": good["cookie of the dashboard"][7:]}}
    return sent


def key_id(sent: dict[str, Any]) -> str:
    return f"key_{sent['headers']['Authorization'].split('_')[1]}"


def test_every_path_parameter_of_the_document_stands_for_an_object_here(site: Site) -> None:
    named = {name for _, path, _, _ in OPERATIONS for name in re.findall(r"\{(\w+)\}", path)}
    assert named <= site.ids.keys() | {"message_id"}
    assert len(OPERATIONS) > 80
    assert len(PRINCIPALS) >= 12


@pytest.mark.parametrize(
    "principal", [one for one in PRINCIPALS if one.project is None], ids=lambda p: p.name
)
def test_nobody_reaches_any_operation_but_the_public_ones(site: Site, principal: Principal) -> None:
    for method, path, scope, operation in OPERATIONS:
        answer = site.ask(principal, method, path, operation)
        if scope is None:
            assert answer.status_code in (200, 404, 503), (method, path, answer.text)
            continue
        assert answer.status_code == 401, (method, path, answer.text)
        own = [value for value in site.ids.values() if str(value) not in path.format(**site.ids)]
        assert not any(str(value) in answer.text for value in own if len(str(value)) > 12), (method, path)


@pytest.mark.parametrize(
    "principal", [one for one in PRINCIPALS if one.project == "other"], ids=lambda p: p.name
)
def test_another_project_neither_reads_nor_changes_anything(site: Site, principal: Principal) -> None:
    for method, path, scope, operation in OPERATIONS:
        answer = site.ask(principal, method, path, operation)
        place = (method, path, answer.status_code, answer.text[:300])
        named = set(re.findall(r"\{(\w+)\}", path)) - EVERYBODYS
        if scope is not None and not principal.scope.allows(Scope(scope)):  # type: ignore[union-attr]
            assert answer.status_code == 403, place
        elif named:
            assert answer.status_code == 404, place
        else:
            assert answer.status_code < 500, place
            foreign = [value for name, value in site.ids.items() if name not in EVERYBODYS]
            body = "" if answer.status_code in (404, 422) else answer.text  # those repeat what was asked for
            assert not any(value in body for value in foreign if len(str(value)) > 12), place


@pytest.mark.parametrize(
    "principal", [one for one in PRINCIPALS if one.project == "owner"][::-1], ids=lambda p: p.name
)
def test_own_keys_may_what_their_scope_says_and_nothing_more(site: Site, principal: Principal) -> None:
    """The reader first: those who may delete come last."""
    for method, path, scope, operation in sorted(OPERATIONS, key=lambda one: one[0] == "DELETE"):
        answer = site.ask(principal, method, path, operation)
        place = (method, path, answer.status_code, answer.text[:300])
        allowed = scope is None or principal.scope.allows(Scope(scope))  # type: ignore[union-attr]
        assert (answer.status_code == 403) is not allowed, place
        assert answer.status_code != 401, place
        if answer.status_code == 503 and answer.json().get("code") == "no_server":
            continue  # it was let in: no server of models runs here
        assert answer.status_code < 500 or path == "/readyz", place
        if allowed and method == "GET":
            assert answer.status_code in (200, 206, 404, 422), place
