"""The base model drafts a prompt set: what it is asked, what comes of it, and that no hint is left in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.database import clock, transaction
from app.tables.jobs import Job
from tests.app.api_harness import MODEL, Api, addition_rows, bearer, few_shot, serve, worker
from tests.app.dashboard.conftest import sign_in
from tests.factories import SCRIPT

FIELDS = ("question", "rationale", "answer")


@pytest.fixture
def api(database_url: str, tmp_path: Path) -> Iterator[Api]:
    settings = {"sampler": "scripted", "sampler_script": SCRIPT, "shard_examples": 6}
    with serve(database_url, tmp_path / "home", **settings) as served, worker(served) as work_off:
        yield replace(served, work_off=work_off)


def begin(api: Api, **changes: Any) -> Any:
    body = {"model": MODEL, "dataset": api.dataset(addition_rows(24), validation=8)["id"], **changes}
    return api.client.post("/v1/prompt-drafts", json=body)


def test_rows_are_reasoned_about_and_what_is_accepted_is_a_prompt_set(api: Api) -> None:
    begun = begin(api)
    assert begun.status_code == 202, begun.text
    assert [one["rationale"] for one in begun.json()["examples"]] == [""] * 5
    assert all(one["problems"] for one in begun.json()["examples"])  # nothing is written there yet
    api.work_off()
    draft = api.client.get(begun.headers["location"]).json()
    assert draft["status"] == "succeeded"
    assert {one["route"] for one in draft["examples"]} == {"generated", "rationalized"}
    assert [one["problems"] for one in draft["examples"]] == [[]] * 5
    accepted = [{name: one[name] for name in FIELDS} for one in draft["examples"]]
    made = api.client.post(
        "/v1/prompt-sets", json={"name": "mine", "kind": "scratchpad", "examples": accepted}
    )
    assert made.status_code == 201, made.text


def test_a_draft_of_one_example_serves_a_dataset_of_many_groups(api: Api) -> None:
    rows = [{**json.loads(row), "group": f"g{n}"} for n, row in enumerate(addition_rows(24).splitlines())]
    dataset = api.dataset("\n".join(map(json.dumps, rows)), validation=8)["id"]
    begun = api.client.post("/v1/prompt-drafts", json={"model": MODEL, "dataset": dataset, "rows": 1}).json()
    api.work_off()
    [drafted] = api.client.get(f"/v1/prompt-drafts/{begun['id']}").json()["examples"]
    sent = {"name": "mine", "kind": "scratchpad", "examples": [{name: drafted[name] for name in FIELDS}]}
    prompts = api.client.post("/v1/prompt-sets", json=sent).json()["id"]
    job = {"model": MODEL, "dataset": dataset, "prompt_set": prompts, "dry_run": True}
    answer = api.client.post("/v1/jobs", json={**job, "config": {"generation": {"max_tokens": 96}}})
    assert answer.status_code == 200, answer.text


def test_the_hint_is_in_the_prompt_and_not_in_the_draft(api: Api) -> None:
    begun = begin(api).json()
    api.work_off()
    draft = api.client.get(f"/v1/prompt-drafts/{begun['id']}").json()
    tries = api.client.get(f"/v1/jobs/{begun['id']}/rationales", params={"route": "rationalized"}).json()
    hinted = {one["example"]["id"]: one["text"] for one in tries["data"]}
    shown = [one for one in draft["examples"] if one["route"] == "rationalized"]
    assert shown
    for one in shown:
        assert one["rationale"] == hinted[one["example"]].strip()
        assert one["rationale"].startswith("<scratch>")  # the hint stands before it, in the prompt alone


def test_a_draft_is_no_job_of_the_list_and_belongs_to_its_project(api: Api) -> None:
    draft = begin(api).json()["id"]
    assert api.client.get("/v1/jobs").json()["data"] == []
    assert api.client.get(f"/v1/prompt-drafts/{draft}", headers=api.other).status_code == 404
    job = api.job()["id"]
    assert api.client.get(f"/v1/prompt-drafts/{job}").status_code == 404


def test_examples_of_ones_own_are_shown_in_place_of_the_built_in_ones(api: Api) -> None:
    draft = begin(api, examples=few_shot(), rows=1).json()["id"]
    job = api.client.get(f"/v1/jobs/{draft}").json()
    shown = api.client.get(f"/v1/prompt-sets/{job['prompt_set']}").json()
    assert [one["question"] for one in shown["examples"]] == [one["question"] for one in few_shot()]
    assert job["config"]["examples_per_iteration"] == 2


def test_a_second_draft_shows_the_same_recorded_examples(api: Api) -> None:
    dataset = api.dataset(addition_rows(24), validation=8)["id"]
    drafts = [begin(api, dataset=dataset).json()["id"] for _ in range(2)]
    jobs = [api.client.get(f"/v1/jobs/{one}").json() for one in drafts]
    assert drafts[0] != drafts[1]
    assert jobs[0]["prompt_set"] == jobs[1]["prompt_set"]


def test_what_a_draft_shows_is_listed_only_once_somebody_saves_it(api: Api) -> None:
    draft = begin(api).json()["id"]
    shown = api.client.get(f"/v1/jobs/{draft}").json()["prompt_set"]
    found = api.client.get(f"/v1/prompt-sets/{shown}").json()
    assert api.client.get("/v1/prompt-sets").json()["data"] == []
    assert api.client.get("/v1/prompt-sets", params={"name": found["name"]}).json()["data"] == []
    assert found["name"] not in sign_in(api, api.admin).get("/prompt-sets").text
    saved = {name: found[name] for name in ("name", "kind", "examples")}
    answer = api.client.post("/v1/prompt-sets", json=saved)
    assert (answer.status_code, answer.json()["id"]) == (200, shown)
    assert [one["id"] for one in api.client.get("/v1/prompt-sets").json()["data"]] == [shown]


def test_a_project_whose_drafts_were_deleted_is_empty(api: Api) -> None:
    project = api.client.post("/v1/projects", json={"name": "team"}).json()["id"]
    made = {"name": "ci", "scopes": ["submit"], "project": project}
    key = bearer(api.client.post("/v1/api-keys", json=made).json()["key"])
    query: dict[str, str | int] = {"kind": "scratchpad", "validation": 8}
    uploaded = api.client.post("/v1/datasets", headers=key, params=query, content=addition_rows(24))
    dataset = uploaded.json()["id"]
    wanted = {"model": MODEL, "dataset": dataset}
    draft = api.client.post("/v1/prompt-drafts", json=wanted, headers=key).json()["id"]
    api.client.post(f"/v1/jobs/{draft}/cancel", headers=key)
    for path in (f"jobs/{draft}", f"datasets/{dataset}"):
        assert api.client.delete(f"/v1/{path}", headers=key).status_code == 204
    assert api.client.delete(f"/v1/projects/{project}").status_code == 204


@pytest.mark.parametrize(
    ("changes", "code"), [({"model": "none"}, "unknown_model"), ({"dataset": "ds_x"}, "unknown_dataset")]
)
def test_what_is_not_there_is_named(api: Api, changes: dict[str, str], code: str) -> None:
    answer = begin(api, **changes)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


def test_a_kind_without_built_in_examples_asks_for_some(api: Api) -> None:
    row = {"question": "Write f(n), which is n.", "answer": "def f(n): return n", "tests": "assert f(1) == 1"}
    rows = "".join(json.dumps({**row, "id": str(n)}) + "\n" for n in range(4))
    answer = begin(api, dataset=api.dataset(rows, kind="code", validation=0)["id"])
    assert (answer.status_code, answer.json()["code"]) == (422, "no_built_in_examples")


@pytest.mark.parametrize(("kind", "row"), [("pattern", {"answer": "1"}), ("documents", {})])
@pytest.mark.parametrize("examples", [[], few_shot()])
def test_kinds_that_only_a_job_can_verify_are_refused(
    api: Api, kind: str, row: dict[str, str], examples: list[dict[str, Any]]
) -> None:
    field = "text" if kind == "documents" else "question"
    rows = "".join(json.dumps({field: f"Say {n}.", **row}) + "\n" for n in range(12))
    answer = begin(api, dataset=api.dataset(rows, kind=kind)["id"], examples=examples)
    assert (answer.status_code, answer.json()["code"]) == (422, "kind_not_drafted")


def test_examples_that_show_nothing_to_a_group_are_refused(api: Api) -> None:
    rows = [{**json.loads(row), "group": "one"} for row in addition_rows(12).splitlines()]
    dataset = api.dataset("".join(json.dumps(row) + "\n" for row in rows))["id"]
    examples = [{**one, "group": "other"} for one in few_shot()]
    answer = begin(api, dataset=dataset, examples=examples)
    assert (answer.status_code, answer.json()["code"]) == (422, "groups_without_examples")


def test_the_form_makes_one_draft_however_often_it_is_sent(api: Api) -> None:
    visitor = sign_in(api, api.admin)
    dataset = api.dataset(addition_rows(24), validation=8)["id"]
    page = visitor.get("/prompt-sets/drafts/new", dataset=dataset).text
    key = page.split('name="key" value="')[1].split('"')[0]
    sent = {"dataset": dataset, "model": MODEL, "rows": "3", "key": key}
    answers = [visitor.post("/prompt-sets/drafts/new", **sent) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [303, 303]
    assert answers[0].headers["location"] == answers[1].headers["location"]
    api.work_off()
    assert "Accept drafted examples" in visitor.client.get(answers[0].headers["location"]).text
    draft = answers[0].headers["location"].rpartition("/")[2]
    assert visitor.get(f"/jobs/{draft}").status_code == 200  # as of any job
    refused = visitor.post("/prompt-sets/drafts/new", **{**sent, "dataset": "a\x00b", "key": ""})
    assert refused.status_code == 422


def test_an_idempotency_key_makes_one(api: Api) -> None:
    body = {"model": MODEL, "dataset": api.dataset(addition_rows(24))["id"]}
    headers = {"Idempotency-Key": "once"}
    first, again = (api.client.post("/v1/prompt-drafts", json=body, headers=headers) for _ in range(2))
    assert first.json()["id"] == again.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"


def test_a_draft_whose_texts_were_removed_by_retention_is_gone(api: Api) -> None:
    draft = begin(api).json()["id"]
    api.work_off()
    with transaction(api.engine) as session:
        session.get_one(Job, draft).texts_removed_at = clock()
    answer = api.client.get(f"/v1/prompt-drafts/{draft}")
    assert (answer.status_code, answer.json()["code"]) == (410, "texts_removed")


def test_a_dataset_that_a_draft_asks_is_deleted_after_the_draft(api: Api) -> None:
    dataset = api.dataset(addition_rows(24), validation=8)["id"]
    draft = begin(api, dataset=dataset).json()["id"]
    refused = api.client.delete(f"/v1/datasets/{dataset}")
    assert refused.status_code == 409
    assert draft in refused.text
    api.work_off()
    assert api.client.delete(f"/v1/jobs/{draft}").status_code == 204
    assert api.client.get(f"/v1/prompt-drafts/{draft}").status_code == 404
    assert api.client.delete(f"/v1/datasets/{dataset}").status_code == 204
