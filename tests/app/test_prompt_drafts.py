"""The base model drafts a prompt set: what it is asked, what comes of it, and that no hint is left in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.app.api_harness import MODEL, Api, addition_rows, few_shot, serve, worker
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
    assert len(api.client.get("/v1/prompt-sets").json()["data"]) == 1


@pytest.mark.parametrize(
    ("changes", "code"), [({"model": "none"}, "unknown_model"), ({"dataset": "ds_x"}, "unknown_dataset")]
)
def test_what_is_not_there_is_named(api: Api, changes: dict[str, str], code: str) -> None:
    answer = begin(api, **changes)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


def test_a_kind_without_built_in_examples_asks_for_some(api: Api) -> None:
    rows = "".join(f'{{"question": "Say {n}.", "answer": "{n}"}}\n' for n in range(12))
    answer = begin(api, dataset=api.dataset(rows, kind="pattern")["id"])
    assert (answer.status_code, answer.json()["code"]) == (422, "no_built_in_examples")


def test_an_idempotency_key_makes_one(api: Api) -> None:
    body = {"model": MODEL, "dataset": api.dataset(addition_rows(24))["id"]}
    headers = {"Idempotency-Key": "once"}
    first, again = (api.client.post("/v1/prompt-drafts", json=body, headers=headers) for _ in range(2))
    assert first.json()["id"] == again.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"
