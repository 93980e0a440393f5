"""Jobs that name other datasets, to be measured along or mixed in: refused with a fix."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.jobs import overlap
from tests.app.api_harness import Api, addition_rows, few_shot

NUMERIC = json.dumps({"question": "How many?", "answer": "3"}) + "\n"


def naming(field: str, dataset: str) -> dict[str, Any]:
    if field == "evaluation.also":
        return {"evaluation": {"also": [dataset]}}
    return {"training_set": {"mix": [{"dataset": dataset, "share": 0.1}]}}


def refusal(api: Api, body: dict[str, Any]) -> tuple[str, str, str]:
    answer = api.client.post("/v1/jobs", json=body)
    assert answer.status_code == 422, answer.text
    [error] = answer.json()["errors"]
    return answer.json()["code"], error["field"], error["fix"]


FIELDS = pytest.mark.parametrize("field", ["evaluation.also", "training_set.mix"])


@FIELDS
def test_a_job_names_another_dataset_of_its_project_and_kind(api: Api, field: str) -> None:
    other = api.dataset(addition_rows(20))
    job = api.job(config=naming(field, other["id"]), allow_overlap=True)
    section, name = field.split(".")
    assert other["id"] in json.dumps(job["config"][section][name])


@FIELDS
def test_the_jobs_own_dataset_and_one_of_another_kind_are_refused(api: Api, field: str) -> None:
    body = api.job_body()
    other = api.dataset(NUMERIC + NUMERIC.replace("?", " more?"), kind="numeric", validation=1)
    for dataset in (body["dataset"], other["id"]):
        code, where, fix = refusal(api, {**body, "config": naming(field, dataset)})
        assert (code, where) == ("kinds_differ", f"config.{field}")
        assert fix == "Name other datasets of the same kind."


@FIELDS
def test_a_dataset_that_is_not_the_projects_is_unknown(api: Api, field: str) -> None:
    query: dict[str, str | int] = {"kind": "scratchpad", "validation": 4}
    sent = api.client.post("/v1/datasets", params=query, content=addition_rows(20), headers=api.other)
    assert sent.status_code == 201, sent.text
    for dataset in (sent.json()["id"], "ds_none"):
        code, where, _ = refusal(api, api.job_body(config=naming(field, dataset)))
        assert (code, where) == ("unknown_dataset", f"config.{field}")


@FIELDS
def test_a_question_that_one_dataset_holds_out_and_another_trains_on_is_refused(api: Api, field: str) -> None:
    body = api.job_body()
    trained, held = (
        api.client.get(f"/v1/datasets/{body['dataset']}/examples", params={"split": split}).json()["data"][0]
        for split in ("train", "validation")
    )
    row = {**(trained if field == "evaluation.also" else held), "question": f" {trained['question']}  "}
    if field == "training_set.mix":
        row["question"] = held["question"].upper()
    marked = {name: row[name] for name in ("question", "answer", "group")}
    rows = [{**marked, "split": "validation" if field == "evaluation.also" else "train"}]
    rows += [
        {"question": f"{n} + 1", "answer": str(n + 1), "group": "1", "split": split}
        for n, split in ((7, "train"), (8, "validation"))
    ]
    other = api.dataset("\n".join(map(json.dumps, rows)), validation=0)["id"]
    code, where, fix = refusal(api, {**body, "config": naming(field, other)})
    assert (code, where) == ("overlap", f"config.{field}")
    assert fix == "Remove one of the two, or set allow_overlap to true."
    taken = {**body, "config": naming(field, other), "allow_overlap": True}
    assert api.client.post("/v1/jobs", json=taken).status_code == 201


def test_few_shot_examples_among_the_held_out_ones_are_counted_and_must_not_be_all_of_them(api: Api) -> None:
    shown = few_shot()[0]
    held = {"question": shown["question"], "answer": shown["answer"], "group": "1", "split": "validation"}
    rows = addition_rows(20) + json.dumps(held)
    other = {"question": "9 + 0", "answer": "9", "group": "1", "split": "validation"}
    body = api.job_body(dataset=api.dataset(rows, validation=0)["id"])
    assert refusal(api, body)[0] == "few_shot_held_out"
    dataset = api.dataset(rows + "\n" + json.dumps(other), validation=0)["id"]
    tried = api.client.post("/v1/jobs", json={**body, "dataset": dataset, "dry_run": True}).json()
    [warning] = [one for one in tried["warnings"] if one["code"] == "few_shot_held_out"]
    assert warning["message"].startswith("1 held-out examples are few-shot examples of the prompt set too")


def test_what_a_prompt_set_shows_of_the_held_out_ones_is_counted_once(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {**api.job_body(), "dry_run": True}
    first = api.client.post("/v1/jobs", json=body)
    monkeypatch.setattr(overlap, "each_example", lambda *_: pytest.fail("read again"))
    again = api.client.post("/v1/jobs", json=body)
    assert (again.status_code, again.json()["warnings"]) == (first.status_code, first.json()["warnings"])


def test_a_dataset_with_nothing_held_out_is_not_measured_along(api: Api) -> None:
    other = api.dataset(addition_rows(20), validation=0)
    code, where, _ = refusal(api, api.job_body(config=naming("evaluation.also", other["id"])))
    assert (code, where) == ("no_held_out_split", "config.evaluation.also")


def test_groups_without_few_shot_examples_are_refused_where_training_prompts_show_them(api: Api) -> None:
    rows = addition_rows(20).replace('"group": "1"', '"group": "far"')
    config = naming("training_set.mix", api.dataset(rows)["id"])
    api.job(config=config, allow_overlap=True)
    config["training_set"]["few_shot_in_prompt"] = True
    code, where, fix = refusal(api, api.job_body(config=config))
    assert (code, where) == ("groups_without_examples", "config.training_set.mix")
    assert "few_shot_in_prompt to false" in fix
