"""A job whose few-shot baseline does not beat guessing: it pauses with advice, and goes on where accepted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.database import transaction
from app.ledger.data.examples import load_examples
from app.ledger.queue.steps import claim_step, finish_step
from app.ledger.results.evaluations import record_evaluations
from star_engine.evaluation.accuracy import EvaluatedAnswer, EvaluationMode
from tests.app.api_harness import Api


def answer_baselines(api: Api, verdict: str) -> None:
    """Do the steps of the baselines phase; every answer gets this verdict."""
    while (held := claim_step(api.engine, "worker:1", 60)) is not None:
        positions = list(range(held.work["start"], held.work["stop"]))
        with transaction(api.engine) as session:
            rows = load_examples(session, held.dataset_id, "validation", positions)
            answers = [
                EvaluatedAnswer(example.id, None, "because", verdict, None, "", 1, 1, "stop")
                for _, example in rows
            ]
            ids = {example.id: row_id for row_id, example in rows}
            record_evaluations(session, held, EvaluationMode(held.work["mode"]), answers, ids)
            finish_step(session, held, api.settings)


@pytest.fixture
def paused(api: Api) -> dict[str, Any]:
    job = api.job()
    answer_baselines(api, "wrong")
    return dict(api.client.get(f"/v1/jobs/{job['id']}").json())


def test_a_baseline_that_does_not_beat_guessing_pauses_the_job_with_advice(
    api: Api, paused: dict[str, Any]
) -> None:
    assert (paused["status"], paused["iteration"]) == ("paused", 0)
    assert paused["status_reason"]["code"] == "no_spark"
    assert "0 of 4 held-out examples" in paused["status_reason"]["message"]
    metrics = api.client.get(f"/v1/jobs/{paused['id']}/iterations/0").json()["metrics"]
    assert metrics["spark"] == {
        "mode": "few_shot_cot", "correct": 0, "n": 4, "judged": 4, "chance": 0.125, "p_value": 1.0
    }  # fmt: skip


def test_the_pause_shows_three_answers_of_the_base_model(paused: dict[str, Any]) -> None:
    said = paused["status_reason"]["message"]
    assert said.count("it said 'because' (wrong; right: ") == 3


def test_resuming_needs_the_reason_to_be_accepted_and_then_goes_on(api: Api, paused: dict[str, Any]) -> None:
    url = f"/v1/jobs/{paused['id']}/resume"
    refused = api.client.post(url)
    assert (refused.status_code, refused.json()["code"]) == (409, "no_spark")
    assert '{"accept": "no_spark"}' in refused.json()["detail"]
    assert api.client.post(url, json={"accept": "mood"}).status_code in (400, 422)
    accepted = api.client.post(url, json={"accept": "no_spark"})
    assert accepted.status_code == 202, accepted.text
    job = accepted.json()
    assert (job["status"], job["phase"], job["iteration"]) == ("running", "sample", 1)
    assert job["status_reason"] is None
    assert api.client.post(url, json={"accept": "no_spark"}).status_code == 200


def test_the_check_can_be_turned_off_and_is_not_made_without_iterations(api: Api) -> None:
    for changes in (
        {"config": {"audits": {"spark_level": None}, "generation": {"max_tokens": 100}}},
        {"preset": "few-shot-cot", "config": {"generation": {"max_tokens": 100}}},
    ):
        job = api.job(**changes)
        while (held := claim_step(api.engine, "worker:1", 60)) is not None and held.phase == "baselines":
            with transaction(api.engine) as session:
                finish_step(session, held, api.settings)
        found = api.client.get(f"/v1/jobs/{job['id']}").json()
        assert found["status_reason"] is None
        assert found["status"] in ("running", "succeeded")
        api.client.post(f"/v1/jobs/{job['id']}/cancel")


def test_binary_questions_are_warned_of_at_upload_and_open_ones_are_not(api: Api) -> None:
    choices = ["yes", "no"]
    rows = [{"question": f"Is {n} odd?", "choices": choices, "answer": "ab"[n % 2 == 0]} for n in range(8)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    binary = api.dataset(lines, kind="choice", validation=2)
    [warning] = binary["warnings"]
    assert "50 % of the examples" in warning
    assert "33 % to be lucky" in warning
    assert api.client.get(f"/v1/datasets/{binary['id']}").json()["warnings"] == [warning]
    assert api.dataset()["warnings"] == []
