"""POST /v1/jobs/{id}/regrade over a job that was run by hand in the real world of the ledger's tests."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from app.database import transaction
from app.tables.data import Example
from app.tables.jobs import Job
from app.tables.rationales import Rationale
from tests.app.api_harness import Api
from tests.app.jobs.test_report import PHASES, Written

RIGHT = "<scratch>\n1 + 1 = 3\n</scratch>\n{answer}"  # but for a step, which no filter of the job looks at
CONFIG = {"iterations": 2, "generation": {"max_tokens": 100}, "training_set": {"filters": []}}


@pytest.fixture
def job(api: Api) -> dict[str, Any]:
    """Eight right answers; what is recorded of the first two is that they were wrong and dropped."""
    job = api.job(config=CONFIG)
    with transaction(api.engine) as session:
        rows = Written(session, session.get_one(Job, job["id"]))
        first = rows.iteration(1, PHASES, {"kept": {"generated": 6, "rationalized": 0}})
        rows.sample(first, "generated", ["wrong"] * 2 + ["correct"] * 6)
        for made, example in session.execute(
            select(Rationale, Example).join(Example, Example.id == Rationale.example_id)
        ).all():
            made.text = RIGHT.format(answer=example.answer)
            made.decision, made.reason = ("dropped", "wrong") if made.verdict == "wrong" else ("kept", "kept")
        first.training_set_sha256 = "0" * 64
    return job


def regrade(api: Api, job: dict[str, Any], params: Any = None, headers: Any = None, **body: Any) -> Any:
    return api.client.post(f"/v1/jobs/{job['id']}/regrade", json=body, params=params, headers=headers)


def test_flips_and_the_new_training_set_are_told_and_nothing_is_changed(
    api: Api, job: dict[str, Any]
) -> None:
    answer = regrade(api, job)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    [iteration] = body["iterations"]
    assert (iteration["iteration"], iteration["tries"]) == (1, 8)
    assert iteration["verdicts"] == [{"before": "wrong", "after": "correct", "count": 2}]
    assert iteration["decisions"] == [{"before": "wrong", "after": "kept", "count": 2}]
    assert (iteration["recorded"]["kept"]["generated"], iteration["recorded"]["sha256"]) == (6, "0" * 64)
    assert (iteration["regraded"]["kept"]["generated"], iteration["regraded"]["kept"]["rationalized"]) == (
        8,
        0,
    )
    changes = body["changes"]["data"]
    assert [(row["before"]["verdict"], row["after"]["verdict"]) for row in changes] == [
        ("wrong", "correct")
    ] * 2
    url = f"/v1/jobs/{job['id']}/rationales/{changes[0]['id']}"
    assert api.client.get(url).json()["verdict"] == "wrong"
    assert regrade(api, job).json() == body


def test_other_filters_change_decisions_and_the_sha256(api: Api, job: dict[str, Any]) -> None:
    usual = regrade(api, job).json()["iterations"][0]
    capped = regrade(api, job, training_set={"filters": ["step_arithmetic"]}).json()
    [iteration] = capped["iterations"]
    assert iteration["regraded"]["kept"]["generated"] == 0
    assert iteration["regraded"]["sha256"] != usual["regraded"]["sha256"]
    assert iteration["verdicts"] == usual["verdicts"]


def test_another_verifier_reads_the_same_texts(api: Api, job: dict[str, Any]) -> None:
    [iteration] = regrade(api, job, kind="exact", iteration=1).json()["iterations"]
    assert iteration["regraded"]["kept"]["generated"] == 0
    assert {row["after"] for row in iteration["verdicts"]} == {"unparsed"}


def test_changes_come_in_pages(api: Api, job: dict[str, Any]) -> None:
    first = regrade(api, job, {"limit": 1}).json()["changes"]
    assert first["has_more"]
    second = regrade(api, job, {"limit": 1, "after": first["last_id"]}).json()["changes"]
    assert (len(second["data"]), second["has_more"]) == (1, False)
    whole = regrade(api, job).json()["changes"]["data"]
    assert first["data"] + second["data"] == whole


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"iteration": 2}, 404, "not_found"),
        ({"verifier": {"fallback": "last_number"}}, 422, "invalid_config"),
        ({"kind": "pattern", "verifier": {"pattern": "("}}, 422, "invalid_config"),
        ({"training_set": {"filters": ["no_such_filter"]}}, 422, "invalid_config"),
        ({"filters": []}, 422, "invalid"),
    ],
)
def test_what_cannot_be_regraded_is_refused(
    api: Api, job: dict[str, Any], body: dict[str, Any], status: int, code: str
) -> None:
    answer = regrade(api, job, **body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def test_parts_add_up_to_the_training_set_of_the_whole(
    api: Api, job: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = regrade(api, job).json()
    monkeypatch.setattr("app.ledger.results.regrade.PART", 3)
    assert regrade(api, job).json() == whole


def test_too_much_at_once_is_refused_with_the_mend(
    api: Api, job: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.ledger.results.regrade.MAX_TRIES", 7)
    answer = regrade(api, job)
    assert (answer.status_code, answer.json()["code"]) == (422, "too_many_tries")


def test_regrading_needs_the_project(api: Api, job: dict[str, Any]) -> None:
    assert regrade(api, job, headers=api.other).status_code == 404
    assert regrade(api, job, headers=api.reader).status_code == 200


def test_before_a_training_set_there_is_nothing_to_regrade(api: Api) -> None:
    assert regrade(api, api.job()).status_code == 409
