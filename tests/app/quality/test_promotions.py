"""Promotions over HTTP: what is refused, what forcing leaves behind, and what they protect."""

from __future__ import annotations

from typing import Any

import pytest

from app.database import transaction
from app.ledger.jobs.retention import apply_retention
from app.tables.jobs import Job
from app.tables.rationales import Adapter
from app.tables.statuses import JobStatus
from star_engine.evaluation.intervals import difference_interval
from tests.app.api_harness import Api
from tests.app.quality.test_receipts import write_adapter, write_job

GAINS, DOES_NOT = range(15), range(3)  # of 20 held-out questions, the base model has the first


def promote(api: Api, adapter: str, **sent: Any) -> Any:
    return api.client.post(f"/v1/adapters/{adapter}/promote", json=sent)


def test_a_promoted_adapter_stands_for_its_name_until_another_does(api: Api) -> None:
    _, first = write_job(api, GAINS)
    made = promote(api, first)
    assert made.status_code == 201, made.text
    found = made.json()
    assert (found["name"], found["stage"], found["forced"], found["ended_at"]) == (
        "default", "production", False, None,
    )  # fmt: skip
    assert found["receipt"]["verdict"] == "helped"
    again = promote(api, first)
    assert (again.status_code, again.json()["id"]) == (200, found["id"])
    assert api.client.get("/v1/adapters/default@production").json()["id"] == first

    second = write_adapter(api, api.client.get(f"/v1/adapters/{first}").json()["job"], number=2)
    forced = promote(api, second, force=True, reason="The demo is today.").json()
    assert api.client.get("/v1/adapters/default@production").json()["id"] == second
    listed = api.client.get("/v1/promotions").json()["data"]
    assert [one["id"] for one in listed] == [forced["id"], found["id"]]
    assert listed[1]["ended_at"] is not None
    standing = api.client.get("/v1/promotions", params={"current": True}).json()["data"]
    assert [one["id"] for one in standing] == [forced["id"]]


def test_a_gain_whose_interval_covers_0_is_refused_and_the_answer_has_the_figures(sqlite_api: Api) -> None:
    _, adapter = write_job(sqlite_api, DOES_NOT)
    answer = promote(sqlite_api, adapter)
    assert (answer.status_code, answer.json()["code"]) == (409, "gain_not_shown")
    low = 100 * difference_interval(2, 0, 20).low
    assert (
        f"+10.0 points on 20 held-out questions, with a 95 % interval of {low:+.1f}"
        in (answer.json()["detail"])
    )
    assert sqlite_api.client.get("/v1/promotions").json()["data"] == []
    assert sqlite_api.client.get("/v1/adapters/default@production").status_code == 404


def test_forcing_needs_a_reason_which_stands_in_the_audit_log(sqlite_api: Api) -> None:
    _, adapter = write_job(sqlite_api, DOES_NOT)
    without = promote(sqlite_api, adapter, force=True)
    assert (without.status_code, without.json()["code"]) == (422, "reason_missing")
    made = promote(sqlite_api, adapter, force=True, reason="The demo is today.", stage="staging").json()
    assert (made["forced"], made["reason"], made["stage"]) == (True, "The demo is today.", "staging")
    [entry] = sqlite_api.client.get("/v1/audit", params={"target": made["id"]}).json()["data"]
    assert (entry["change"], entry["action"]) == ("created", "POST /v1/adapters/{adapter_id}/promote")
    assert entry["reason"] == "The demo is today."


def test_force_where_the_gain_is_shown_is_no_forced_promotion(sqlite_api: Api) -> None:
    _, adapter = write_job(sqlite_api, GAINS)
    assert promote(sqlite_api, adapter, force=True, reason="To be sure.").json()["forced"] is False


def test_a_promotion_is_compared_with_the_one_before_on_the_same_held_out_questions(sqlite_api: Api) -> None:
    job, first = write_job(sqlite_api, GAINS)
    promote(sqlite_api, first)
    fork, second = write_job(sqlite_api, range(2, 19))
    found = promote(sqlite_api, second).json()["over_previous"]
    shared = sqlite_api.client.get(f"/v1/jobs/{job}").json()["dataset"]
    assert shared == sqlite_api.client.get(f"/v1/jobs/{fork}").json()["dataset"]
    assert (found["n"], found["gained"], found["lost"]) == (20, 4, 2)


def test_what_is_promoted_is_neither_deleted_nor_dropped_by_the_retention(sqlite_api: Api) -> None:
    job, adapter = write_job(sqlite_api, GAINS)
    write_adapter(sqlite_api, job, number=2)
    made = promote(sqlite_api, adapter).json()
    with transaction(sqlite_api.engine) as session:
        row = session.get_one(Job, job)
        row.status, row.retention = JobStatus.SUCCEEDED, {"keep_last": 1, "keep_best": False}
    refused = sqlite_api.client.delete(f"/v1/adapters/{adapter}")
    assert (refused.status_code, refused.json()["code"]) == (409, "adapter_promoted")
    depended = sqlite_api.client.delete(f"/v1/jobs/{job}")
    assert depended.status_code == 409
    assert [one["id"] for one in depended.json()["dependents"]] == [made["id"]]
    assert apply_retention(sqlite_api.engine) == 0
    assert sqlite_api.client.delete(f"/v1/promotions/{made['id']}").json()["ended_at"] is not None
    assert apply_retention(sqlite_api.engine) == 1
    with transaction(sqlite_api.engine) as session:
        assert session.get_one(Adapter, adapter).deleted_at is not None
    assert promote(sqlite_api, adapter).json()["code"] == "adapter_deleted"
    assert sqlite_api.client.delete(f"/v1/jobs/{job}").status_code == 204


def test_promotions_of_a_deleted_job_are_gone_with_it(sqlite_api: Api) -> None:
    kept, first = write_job(sqlite_api, GAINS)
    promote(sqlite_api, first)
    deleted, second = write_job(sqlite_api, range(2, 19))
    made = promote(sqlite_api, second).json()["id"]
    third = write_job(sqlite_api, range(1, 18))[1]
    promote(sqlite_api, third)
    with transaction(sqlite_api.engine) as session:
        session.get_one(Job, deleted).status = JobStatus.SUCCEEDED
    assert sqlite_api.client.delete(f"/v1/jobs/{deleted}").status_code == 204
    listed = sqlite_api.client.get("/v1/promotions")
    assert listed.status_code == 200, listed.text
    assert [one["adapter"] for one in listed.json()["data"]] == [third, first]
    assert listed.json()["data"][1]["job"] == kept
    assert sqlite_api.client.get(f"/v1/promotions/{made}").status_code == 404
    assert sqlite_api.client.delete(f"/v1/promotions/{made}").status_code == 404


@pytest.mark.parametrize(
    "sent", [{"stage": "a@b"}, {"name": ""}, {"reason": "x"}, {"stage": "x" * 101}, {"other": 1}]
)
def test_names_that_could_not_be_asked_for_are_refused(sqlite_api: Api, sent: dict[str, Any]) -> None:
    _, adapter = write_job(sqlite_api, GAINS)
    assert promote(sqlite_api, adapter, **sent).status_code == 422


def test_readers_and_other_projects_promote_nothing(sqlite_api: Api) -> None:
    _, adapter = write_job(sqlite_api, GAINS)
    path = f"/v1/adapters/{adapter}/promote"
    assert sqlite_api.client.post(path, json={}, headers=sqlite_api.reader).status_code == 403
    assert sqlite_api.client.post(path, json={}, headers=sqlite_api.other).status_code == 404
    made = promote(sqlite_api, adapter).json()["id"]
    assert sqlite_api.client.get(f"/v1/promotions/{made}", headers=sqlite_api.other).status_code == 404
    assert sqlite_api.client.get(f"/v1/promotions/{made}", headers=sqlite_api.reader).status_code == 200
