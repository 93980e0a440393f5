"""The report over a job, its baselines, its forks and other jobs: jobs whose rows are written here."""

from __future__ import annotations

from typing import Any

import pytest

from app.database import transaction
from app.tables.jobs import Job
from app.tables.rationales import Adapter
from tests.app.api_harness import Api
from tests.app.jobs.test_report import PHASES, Written, get, metrics


def write(api: Api, job_id: str, right: list[int]) -> None:
    """A first iteration that answered these of four held-out examples."""
    with transaction(api.engine) as session:
        rows = Written(session, session.get_one(Job, job_id))
        rows.evaluate(rows.iteration(0, ["baselines"], {"accuracy": 0.25}), "few_shot_cot", [0])
        first = rows.iteration(1, PHASES, metrics(0.25, 2, 3) | {"accuracy": len(right) / 4})
        rows.evaluate(first, "adapter", right)
        session.add(
            Adapter(
                id=f"adp_{job_id}", job_id=job_id, iteration_number=1, files=[], training={},
                verification={"loads": True},
            )
        )  # fmt: skip


@pytest.fixture
def job(api: Api) -> dict[str, Any]:
    training = {"schedule": {"start": 200}}  # its own: the baseline takes it over
    job = api.job(
        name="mine",
        baselines=["star-without-rationalization"],
        config={"generation": {"max_tokens": 100}, "training": training},
    )
    write(api, job["id"], [0, 1, 2])
    write(api, job["baselines"][0]["job"], [0, 3])
    return job


def test_report_holds_the_job_against_its_baseline(api: Api, job: dict[str, Any]) -> None:
    [baseline] = get(api, job).json()["relatives"]
    assert baseline["job"] == job["baselines"][0]["job"]
    assert baseline["role"] == "baseline star-without-rationalization"
    assert (baseline["iteration"], baseline["correct"], baseline["n"]) == (1, 2, 4)
    assert baseline["train_data"]["rationalized"] == 3 / 8
    found = baseline["difference"]
    assert (found["gained"], found["lost"], found["points"]) == (2, 1, 0.25)
    assert baseline["settings"] == [{"name": "rationalization.enabled", "this": True, "other": False}]
    assert baseline["curve"] == [[0, 0.25], [1, 0.5]]


def test_answer_names_direct_fine_tuning_where_it_was_run_beside_the_job(api: Api) -> None:
    job = api.job(name="mine", baselines=["direct-fine-tune"])
    write(api, job["id"], [0, 1])
    assert get(api, job).json()["answer"]["not_run"] == ["direct fine-tuning"]
    write(api, job["baselines"][0]["job"], [0, 1, 2, 3])
    found = get(api, job).json()["answer"]
    assert found["not_run"] == []
    few_shot, direct = found["comparisons"]
    assert (few_shot["against"], few_shot["accuracy"]) == ("few-shot prompting with rationales", 0.25)
    assert (direct["against"], direct["accuracy"], direct["difference"]["lost"]) == (
        "direct fine-tuning",
        1.0,
        2,
    )
    assert "from direct fine-tuning: iteration 1 gets 50.0 %" in found["sentence"]
    assert "| direct fine-tuning | no difference | 100.0 % |" in get(api, job, format="markdown").text


def test_what_is_below_few_shot_prompting_is_marked_so_wherever_a_best_is_shown(api: Api) -> None:
    job = api.job(name="mine")
    write(api, job["id"], [])
    best = api.client.get(f"/v1/jobs/{job['id']}").json()["best"]
    assert (best["accuracy"], best["few_shot"], best["below_few_shot"]) == (0.0, 0.25, True)


def test_baseline_forks_and_named_jobs_are_shown_once_each(api: Api, job: dict[str, Any]) -> None:
    body = {"from_iteration": 1, "config": {"seed": 7}, "name": "forked"}
    fork = api.client.post(f"/v1/jobs/{job['id']}/fork", json=body).json()
    other = api.job(name="other")
    named = get(api, job, compare=f"{other['id']},{fork['id']}").json()["relatives"]
    assert [one["role"] for one in named] == ["compared", "compared", "baseline star-without-rationalization"]
    roles = {one["job"]: one["role"] for one in get(api, job).json()["relatives"]}
    assert roles[fork["id"]] == "fork from 1"
    assert other["id"] not in roles
    [origin] = get(api, fork).json()["relatives"]
    assert (origin["role"], origin["difference"]["points"]) == ("forked from", 0.0)
    assert origin["settings"] == [{"name": "seed", "this": 7, "other": 0}]
    [unknown] = [one for one in named if one["job"] == other["id"]]
    assert (unknown["accuracy"], unknown["difference"]) == (None, None)


def test_pages_draw_the_curves_side_by_side(api: Api, job: dict[str, Any]) -> None:
    text = get(api, job, format="markdown").text
    row = (
        "| mine: star-without-rationalization | baseline star-without-rationalization | 1 | 2 of 4 | "
        "50.0 % | 6.8 % to 93.2 % | 25.0 % + 37.5 % | +25.0 |"
    )
    assert row in text
    assert "| mine: star-without-rationalization | rationalization.enabled | true | false |" in text
    page = get(api, job, format="html").text
    assert "Accuracy over iterations, beside other jobs" in page
    assert "mine: star-without-rationalization (baseline star-without-rationalization)" in page


def test_jobs_of_other_projects_cannot_be_compared(api: Api, job: dict[str, Any]) -> None:
    url = f"/v1/jobs/{job['id']}/report"
    assert api.client.get(url, params={"compare": "job_nobody"}).status_code == 404
