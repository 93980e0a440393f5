"""Jobs that name other datasets, to be measured along or mixed in: refused with a fix."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.app.api_harness import Api, addition_rows

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
    job = api.job(config=naming(field, other["id"]))
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


def test_a_dataset_with_nothing_held_out_is_not_measured_along(api: Api) -> None:
    other = api.dataset(addition_rows(20), validation=0)
    code, where, _ = refusal(api, api.job_body(config=naming("evaluation.also", other["id"])))
    assert (code, where) == ("no_held_out_split", "config.evaluation.also")


def test_groups_without_few_shot_examples_are_refused_where_training_prompts_show_them(api: Api) -> None:
    rows = addition_rows(20).replace('"group": "1"', '"group": "far"')
    config = naming("training_set.mix", api.dataset(rows)["id"])
    api.job(config=config)
    config["training_set"]["few_shot_in_prompt"] = True
    code, where, fix = refusal(api, api.job_body(config=config))
    assert (code, where) == ("groups_without_examples", "config.training_set.mix")
    assert "few_shot_in_prompt to false" in fix
