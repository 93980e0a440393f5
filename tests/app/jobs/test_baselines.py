"""POST /v1/jobs with baselines: what is made of them, and what is refused."""

from __future__ import annotations

from typing import Any

from tests.app.api_harness import Api


def test_baselines_are_jobs_beside_it_or_modes_of_its_first_phase(api: Api) -> None:
    config = {"iterations": 2, "generation": {"max_tokens": 100}, "evaluation": {"baselines": []}}
    names = ["few-shot-cot", "star-without-rationalization", "rft"]
    job = api.job(config=config, baselines=names)
    assert job["config"]["evaluation"]["baselines"] == ["few_shot_cot"]
    assert [one["preset"] for one in job["baselines"]] == names[1:]
    without, rft = (api.client.get(f"/v1/jobs/{one['job']}").json() for one in job["baselines"])
    assert (without["baseline_of"], without["baselines"]) == (job["id"], [])
    own = {"kind": "geometric", "start": 40, "factor": 1.2, "max_steps": None}  # of the paper's ablation
    assert without["config"] == job["config"] | {
        "rationalization": job["config"]["rationalization"] | {"enabled": False},
        "training": job["config"]["training"] | {"schedule": own},
    }
    assert (rft["config"]["iterations"], rft["config"]["generation"]["samples_per_example"]) == (1, 100)
    assert rft["config"]["generation"]["max_tokens"] == 100
    assert rft["config"]["evaluation"] == job["config"]["evaluation"]
    assert without["name"] == f"{job['name']}: star-without-rationalization"


def test_fine_tuning_on_the_answers_stands_beside_a_job_that_samples_often(api: Api) -> None:
    config = {
        "iterations": 2,
        "generation": {"max_tokens": 100, "samples_per_example": 2, "temperature": 0.5},
    }
    job = api.job(config=config, baselines=["direct-fine-tune"])
    beside = api.client.get(f"/v1/jobs/{job['baselines'][0]['job']}").json()["config"]
    assert (beside["iterations"], beside["training_set"]["source"]) == (1, "answers")
    assert beside["training"]["lora"] == job["config"]["training"]["lora"]


def test_an_unknown_baseline_is_refused_and_nothing_is_made(api: Api) -> None:
    answer = api.client.post("/v1/jobs", json=api.job_body(baselines=["sft"]))
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_baseline")
    assert "star-without-rationalization" in answer.json()["errors"][0]["fix"]
    assert api.client.get("/v1/jobs").json()["data"] == []


def test_a_baseline_that_is_the_job_itself_is_refused_and_beside_another_method_it_is_star(api: Api) -> None:
    answer = api.client.post("/v1/jobs", json=api.job_body(baselines=["star"]))
    assert (answer.status_code, answer.json()["code"]) == (422, "baseline_equals_job")
    config = {"iterations": 2, "generation": {"max_tokens": 100, "samples_per_example": 4}}
    job = api.job(preset="iterative-rpo", config=config, baselines=["star"])
    beside = api.client.get(f"/v1/jobs/{job['baselines'][0]['job']}").json()["config"]
    assert (job["config"]["preference"] is None, beside["preference"]) == (False, None)
    assert beside["rationalization"]["enabled"]
    assert beside["generation"] == job["config"]["generation"]


B_STAR: dict[str, Any] = {
    "iterations": 2,
    "generation": {"max_tokens": 100, "samples_per_example": 4, "temperature": 0.6},
}
SCORED: dict[str, Any] = {"scorer": "verifier", "temperatures": [0.4, 0.8], "rows_wanted": 2}


def test_the_arm_at_a_fixed_temperature_is_the_job_without_its_controller(api: Api) -> None:
    job = api.job(preset="b-star", config=B_STAR, baselines=["fixed-temperature"])
    assert job["baselines"][0]["preset"] == "fixed-temperature"
    beside = api.client.get(f"/v1/jobs/{job['baselines'][0]['job']}").json()["config"]
    assert job["config"]["training"]["optimizer"] == "carry"
    assert beside == {**job["config"], "controller": None}


def test_the_arm_at_a_fixed_temperature_keeps_its_scorer_and_has_nothing_to_choose(api: Api) -> None:
    config = {**B_STAR, "controller": SCORED, "trained_verifier": {"when": "every_iteration"}}
    job = api.job(preset="b-star", config=config, baselines=["fixed-temperature"])
    beside = api.client.get(f"/v1/jobs/{job['baselines'][0]['job']}").json()["config"]
    fixed = {"temperatures": [0.6], "thresholds": [0.0]}
    assert beside == {**job["config"], "controller": job["config"]["controller"] | fixed}


def test_a_job_without_a_controller_has_no_arm_at_a_fixed_temperature(api: Api) -> None:
    answer = api.client.post("/v1/jobs", json=api.job_body(baselines=["fixed-temperature"]))
    assert (answer.status_code, answer.json()["code"]) == (422, "no_controller")


def test_the_same_key_makes_the_family_once(api: Api) -> None:
    body = api.job_body(baselines=["star-without-rationalization"])
    first, again = (
        api.client.post("/v1/jobs", json=body, headers={"Idempotency-Key": "once"}).json() for _ in range(2)
    )
    assert first == again
    assert len(api.client.get("/v1/jobs").json()["data"]) == 2


def test_cancel_takes_the_baselines_along_where_asked(api: Api) -> None:
    job = api.job(baselines=["star-without-rationalization"])
    answer = api.client.post(f"/v1/jobs/{job['id']}/cancel", params={"baselines": True}).json()
    assert (answer["status"], answer["baselines"][0]["status"]) == ("cancelled", "cancelled")
