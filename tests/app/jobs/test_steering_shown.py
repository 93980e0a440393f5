"""What a job that steers itself shows: its figures by iteration, beside the arm at a fixed temperature."""

from __future__ import annotations

from typing import Any

import pytest

from app.dashboard.jobs.charts import charts
from app.database import reading, transaction
from app.results.iterations import read_iterations
from app.results.report import read_job_report
from app.tables.jobs import Job
from tests.app.api_harness import Api
from tests.app.jobs.test_report import PHASES, Written, metrics

CONTROL = {
    "temperature": 0.8, "threshold": 0.3, "score": 0.625, "scorer": "verifier",
    "grid": [{"temperature": 0.8, "threshold": 0.3, "score": 0.625}],
}  # fmt: skip


def explored(share: float, **rewarded: Any) -> dict[str, Any]:
    found = {"samples": 4, "pass": {"1": 0.9, "4": share}, "distinct_share": 0.75, "entropy": 1.25}
    return {"audits": {"exploration": found | rewarded}}


def other(accuracy: float) -> dict[str, Any]:
    return {"also": {"ds_other": {"accuracy": accuracy, "n": 8}}}


@pytest.fixture
def job(api: Api) -> dict[str, Any]:
    made = api.job(
        preset="b-star",
        config={"iterations": 2, "generation": {"max_tokens": 100, "samples_per_example": 4}},
        baselines=["fixed-temperature"],
    )
    own = explored(0.5, rewarded={"1": 0.8, "2": 0.7, "4": 0.6}) | {"control": CONTROL}
    with transaction(api.engine) as session:
        for job_id, found in ((made["id"], own), (made["baselines"][0]["job"], explored(0.125))):
            rows = Written(session, session.get_one(Job, job_id))
            rows.evaluate(
                rows.iteration(0, ["baselines"], {"also": {"ds_other": {"accuracy": 0.5}}}),
                "few_shot_cot",
                [],
            )
            first = rows.iteration(
                1, PHASES, metrics(0.25, 2, 3) | found | {"also": {"ds_other": {"accuracy": 0.25}}}
            )
            rows.evaluate(first, "adapter", [0])
    return dict(made)


def test_the_report_has_both_arms_by_iteration(api: Api, job: dict[str, Any]) -> None:
    text = api.client.get(f"/v1/jobs/{job['id']}/report", params={"format": "markdown"}).text
    assert "## Exploration and exploitation" in text
    own, fixed = (
        line for line in text.splitlines() if line.startswith(("| 1 | this |", "| 1 | fixed-temperature |"))
    )
    assert own.startswith("| 1 | this | 0.8 | 0.3 | 0.625 | 90.0 % |")
    assert "| 50.0 % | – | 75.0 % | 1.25 | 80.0 % | 70.0 % | 60.0 % | – |" in own
    assert "| 12.5 % | – | 75.0 % | 1.25 | – | – | – | – |" in fixed
    answer = api.client.get(f"/v1/jobs/{job['id']}/report").json()
    assert answer["coverage"][0]["control"]["threshold"] == 0.3
    [beside] = answer["relatives"]
    assert beside["exploration"][0][1]["pass"]["4"] == 0.125


def test_the_jobs_page_charts_both_arms_the_threshold_and_other_datasets(
    api: Api, job: dict[str, Any]
) -> None:
    with reading(api.engine) as session:
        project = session.get_one(Job, job["id"]).project_id
    _, report = read_job_report(api.engine, project, job["id"])
    drawn = dict(charts(read_iterations(api.engine, project, job["id"]).data, report))
    lines = {
        title: {one["label"]: (one["values"], one["dashed"]) for one in spec["series"]}
        for title, spec in drawn.items()
    }
    found = lines["Exploration: train examples by distinct right solutions"]
    assert found["4 or more"] == ([0.5], False)
    assert found["4 or more, fixed temperature"] == ([0.125], True)
    rewarded = lines["Exploitation: train examples whose best rewarded tries are right"]
    assert rewarded["Best of K"] == ([0.8], False)
    assert rewarded["2 best"] == ([0.7], False)
    assert lines["Temperature and threshold"]["Threshold"] == ([0.3], False)
    assert lines["Entropy of the answers, in bits"]["Entropy, fixed temperature"] == ([1.25], True)
    assert lines["Accuracy on other datasets"]["ds_other"] == ([0.5, 0.25], False)
