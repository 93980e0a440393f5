"""POST /v1/jobs on datasets from before an upload refused held-out questions that are trained on."""

from __future__ import annotations

import json
from typing import Any

from app.database import transaction
from app.tables.data import Dataset
from app.tables.jobs import Job
from tests.app.api_harness import MODEL, Api, addition_rows
from tests.app.jobs.test_report import PHASES, Written, metrics

RATIONALE = "Hens have wings. Therefore, the answer is hen (a)."
REPEATED = {**json.loads(addition_rows(1)), "split": "validation"}
OVERLAPPING = addition_rows() + json.dumps(REPEATED) + "\n"


def older_dataset(api: Api, rows: str = OVERLAPPING, **query: Any) -> str:
    """One whose statistics are as they were before overlap was refused: counted by the question alone."""
    made: str = api.dataset(rows, validation=0, allow_overlap=True, **query)["id"]
    with transaction(api.engine) as session:
        dataset = session.get_one(Dataset, made)
        counted = dataset.statistics
        assert counted is not None
        exact = {"examples": 1, "named": []}
        dataset.statistics = {**counted, "overlap": {"exact": exact, "ngrams": counted["overlap"]["ngrams"]}}
    return made


def test_an_older_dataset_with_overlap_is_refused_and_allow_overlap_is_named(api: Api) -> None:
    dataset = older_dataset(api)
    answer = api.client.post("/v1/jobs", json=api.job_body(dataset=dataset))
    assert (answer.status_code, answer.json()["code"]) == (422, "overlap"), answer.text
    [error] = answer.json()["errors"]
    assert error["field"] == "dataset"
    assert error["reason"] == f"The questions of 1 held-out examples of {dataset} are trained on."
    assert "allow_overlap" in error["fix"]


def test_an_older_dataset_with_overlap_is_taken_where_the_job_allows_it(api: Api) -> None:
    dataset = older_dataset(api)
    assert api.job(dataset=dataset, allow_overlap=True)["dataset"] == dataset


def test_overlap_that_was_allowed_at_upload_is_not_asked_about_again(api: Api) -> None:
    dataset = api.dataset(OVERLAPPING, validation=0, allow_overlap=True)["id"]
    assert api.job(dataset=dataset)["dataset"] == dataset


def test_a_fork_runs_on_the_overlap_that_its_source_ran_on(api: Api) -> None:
    source = api.job(dataset=older_dataset(api), allow_overlap=True)
    with transaction(api.engine) as session:
        rows = Written(session, session.get_one(Job, source["id"]))
        rows.evaluate(rows.iteration(0, ["baselines"], {"accuracy": 0.0}), "few_shot_cot", [])
        first = rows.iteration(1, PHASES, metrics(0.0, 2, 3) | {"accuracy": 0.0})
        rows.sample(first, "generated", ["correct"] * 8)
    answer = api.client.post(f"/v1/jobs/{source['id']}/fork", json={"from_iteration": 0})
    assert answer.status_code == 201, answer.text


def test_an_older_count_by_the_question_alone_refuses_no_choice_dataset(api: Api) -> None:
    asked = {"question": "Which of these is an animal?", "answer": "a"}
    rows = [{**asked, "choices": ["cow", "car"]}, {**asked, "choices": ["hen", "bus"], "split": "validation"}]
    dataset = older_dataset(api, "".join(json.dumps(row) + "\n" for row in rows), kind="choice")
    example = {"question": "Which flies?", "choices": ["hen", "hat"], "rationale": RATIONALE, "answer": "a"}
    prompt_set = api.prompt_set(kind="choice", examples=[example])["id"]
    body = {"model": MODEL, "dataset": dataset, "prompt_set": prompt_set}
    answer = api.client.post("/v1/jobs", json=body)
    assert answer.status_code == 201, answer.text
