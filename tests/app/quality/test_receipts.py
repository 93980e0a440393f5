"""Receipts over HTTP: of adapters whose outcomes are written here, and of a job that has run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pytest

from app.database import new_id, transaction
from app.tables.candidates import QuestionCurve
from app.tables.jobs import Job
from app.tables.rationales import Adapter
from star_engine.adapters.roles import AdapterRole
from star_engine.evaluation.intervals import difference_interval, level_for_best_of
from tests.app.api_harness import Api
from tests.app.jobs.test_report import PHASES, Written, metrics
from tests.factories import problem, spaced, total

KS = [1, 2, 4]


def rows(count: int) -> str:
    """Questions of three digits, each of them once."""
    found = []
    for number in range(count):
        a, b = problem(number, 3)
        found.append({"question": f"{spaced(a)} + {spaced(b)}", "answer": total(a, b), "group": "2"})
    return "".join(json.dumps(row) + "\n" for row in found)


def write_job(
    api: Api, right: Sequence[int], *, few_shot: Sequence[int] = (0,), held_out: int = 20, **body: Any
) -> tuple[str, str]:
    """A job of one iteration and its adapter; `right`: places of the held-out questions it solves."""
    dataset = api.dataset(rows(2 * held_out), validation=held_out)["id"]
    config = {"iterations": 1, "generation": {"max_tokens": 100}, **body.pop("config", {})}
    job_id = api.job(dataset=dataset, config=config, **body)["id"]
    with transaction(api.engine) as session:
        of_job = Written(session, session.get_one(Job, job_id))
        of_job.evaluate(of_job.iteration(0, ["baselines"], {}), "few_shot_cot", few_shot)
        of_job.evaluate(of_job.iteration(1, PHASES, metrics(0.25, 2, 3)), "adapter", right)
    return job_id, write_adapter(api, job_id)


def write_adapter(api: Api, job_id: str, number: int = 1, role: AdapterRole = AdapterRole.GENERATOR) -> str:
    with transaction(api.engine) as session:
        adapter = Adapter(
            id=new_id("adp"), job_id=job_id, iteration_number=number, role=role, files=[], training={},
            verification={"probes": 1},
        )  # fmt: skip
        session.add(adapter)
        return adapter.id


def test_a_receipt_holds_the_paired_tests_and_says_what_was_not_run(api: Api) -> None:
    _, adapter = write_job(api, range(15))
    found = api.client.get(f"/v1/adapters/{adapter}/receipt").json()
    assert (found["object"], found["adapter"], found["n"], found["correct"]) == ("receipt", adapter, 20, 15)
    [claim] = found["claims"]
    assert (claim["kind"], claim["verdict"], claim["difference"]["gained"]) == ("few_shot", "helped", 14)
    assert claim["difference"]["interval"] == asdict(difference_interval(14, 0, 20, level_for_best_of(1)))
    assert [one["kind"] for one in found["not_run"]] == ["base_model", "majority_vote", "direct_fine_tuning"]
    assert all(one["fix"] for one in found["not_run"])
    assert (found["verdict"], found["gain"]) == ("helped", claim)
    assert found["collapse"]["held_out"] == {"newly_solved": 14, "forgotten": 0, "retained": 1, "never": 5}


def test_the_report_has_the_receipt_of_the_best_iteration_in_every_form(sqlite_api: Api) -> None:
    job, adapter = write_job(sqlite_api, range(15))
    receipt = sqlite_api.client.get(f"/v1/adapters/{adapter}/receipt").json()
    report = sqlite_api.client.get(f"/v1/jobs/{job}/report").json()
    assert report["receipt"]["sentence"] == receipt["sentence"]
    for form in ("markdown", "html"):
        text = sqlite_api.client.get(f"/v1/jobs/{job}/report", params={"format": form}).text
        assert "Receipt of iteration 1" in text
        assert "not run. Create the job with the baseline direct-fine-tune." in text


def summary(passed: Sequence[float], solutions: int) -> dict[str, Any]:
    points = [{"value": value, "low": value, "high": value} for value in passed]
    return {
        "samples": 4, "temperature": 0.7, "n": 20, "ks": KS, "curves": {"pass": points}, "unparsed": 0.0,
        "solutions": float(solutions), "entropy": float(solutions),
    }  # fmt: skip


def curves(api: Api, job_id: str, number: int, passed: Sequence[float], solutions: int) -> None:
    """All questions alike: what was measured at test time, by the base model (0) or an iteration."""
    with transaction(api.engine) as session:
        of_job = Written(session, session.get_one(Job, job_id))
        phases = [*PHASES, "test_time"] if number else ["baselines", "test_time"]
        found = of_job.iteration(number, phases, {"test_time": summary(passed, solutions)})
        session.add_all(
            QuestionCurve(
                iteration_id=found.id, example_id=example, answers=4, right=2, unparsed=0,
                solutions=solutions, entropy=float(solutions), curves={"pass": list(passed)},
            )
            for example in of_job.examples("validation")
        )  # fmt: skip


def test_pass_at_k_of_base_and_trained_model_stand_in_one_chart(sqlite_api: Api) -> None:
    settings = {"evaluation": {"test_time": {"samples": 4}}}
    job, adapter = write_job(sqlite_api, range(15), config=settings)
    curves(sqlite_api, job, 0, (0.2, 0.6, 1.0), 4)
    curves(sqlite_api, job, 1, (0.5, 0.5, 0.5), 1)
    found = sqlite_api.client.get(f"/v1/adapters/{adapter}/receipt").json()["collapse"]
    apart = found["pass_difference"]
    assert (apart["k"], apart["n"], apart["points"]) == (4, 20, -0.5)
    assert apart["interval"]["high"] < 0
    assert (found["base"]["solutions"], found["adapter"]["solutions"]) == (4, 1)
    report = sqlite_api.client.get(f"/v1/jobs/{job}/report", params={"format": "html"}).text
    section = report.split("Does the trained model still solve what the base model could?")[1]
    assert "training has narrowed what the model can solve" in section
    chart = section.split("</svg>")[0]
    assert chart.count("<polyline") == 2
    assert "base model</text>" in chart


def test_a_verifier_has_no_receipt_and_the_answer_says_whose_to_ask_for(sqlite_api: Api) -> None:
    job, _ = write_job(sqlite_api, range(15))
    verifier = write_adapter(sqlite_api, job, role=AdapterRole.VERIFIER)
    answer = sqlite_api.client.get(f"/v1/adapters/{verifier}/receipt")
    assert (answer.status_code, answer.json()["code"]) == (409, "no_receipt")


def test_an_adapter_without_an_evaluation_says_that_nothing_is_known(sqlite_api: Api) -> None:
    job = sqlite_api.job()["id"]
    found = sqlite_api.client.get(f"/v1/adapters/{write_adapter(sqlite_api, job)}/receipt").json()
    assert (found["verdict"], found["claims"], found["n"]) == ("unknown", [], 0)


@pytest.mark.parametrize("key", ["other", "reader"])
def test_receipts_are_for_the_own_project(sqlite_api: Api, key: str) -> None:
    _, adapter = write_job(sqlite_api, range(15))
    status = sqlite_api.client.get(
        f"/v1/adapters/{adapter}/receipt", headers=getattr(sqlite_api, key)
    ).status_code
    assert status == (404 if key == "other" else 200)
