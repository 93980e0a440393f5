"""A job's budget and its own webhook over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.app.api_harness import Api

URL = "https://hooks.example.com/"


def test_budget_is_shown_with_what_was_used_of_it(api: Api) -> None:
    assert api.job()["budget"] == {"gpu_seconds": None, "gpu_seconds_used": 0.0, "deadline": None}
    job = api.job(budget={"gpu_seconds": 3600, "deadline": "2100-01-31T12:00:00+01:00"})
    assert job["budget"] == {
        "gpu_seconds": 3600.0,
        "gpu_seconds_used": 0.0,
        "deadline": "2100-01-31T11:00:00.000Z",
    }


def test_deadline_in_seconds_counts_from_now(api: Api) -> None:
    deadline = api.job(budget={"deadline_seconds": 86_400})["budget"]["deadline"]
    left = datetime.fromisoformat(deadline) - datetime.now(UTC)
    assert timedelta(hours=23) < left <= timedelta(days=1)


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"budget": {"gpu_seconds": 0}}, "invalid", "budget.gpu_seconds"),
        ({"budget": {"deadline": "2001-01-01T00:00:00Z"}}, "deadline_passed", "budget.deadline"),
        ({"budget": {"deadline": "2100-01-01T00:00:00"}}, "invalid", "budget.deadline"),
        ({"budget": {"deadline": "2100-01-01T00:00:00Z", "deadline_seconds": 5}}, "invalid", "budget"),
        ({"budget": {"euros": 5}}, "invalid", "budget.euros"),
        ({"webhook": {"url": "https://127.0.0.1/"}}, "bad_webhook_url", "webhook.url"),
        ({"webhook": {"url": URL, "events": ["nothing"]}}, "invalid", "webhook.events.0"),
    ],
)
def test_bad_limit_is_refused_with_the_field(
    sqlite_api: Api, change: dict[str, object], code: str, field: str
) -> None:
    answer = sqlite_api.client.post("/v1/jobs", json=sqlite_api.job_body(**change))
    assert answer.status_code == 422, answer.text
    assert (answer.json()["code"], answer.json()["errors"][0]["field"]) == (code, field)


def test_jobs_own_webhook_hears_of_it_from_the_first_event_on(api: Api) -> None:
    key = {"Idempotency-Key": "with a webhook"}
    body = api.job_body(webhook={"url": URL, "events": ["job.*"]})
    job = api.client.post("/v1/jobs", json=body, headers=key).json()
    hook = job["webhook"]
    assert hook["secret"].startswith("whsec_")
    assert (hook["url"], hook["events"]) == (URL, ["job.*"])
    api.job()
    sent = api.client.get(f"/v1/webhooks/{hook['id']}/deliveries").json()["data"]
    assert [(one["job"], one["event_type"]) for one in sent] == [
        (job["id"], "job.queued"),
        (job["id"], "job.created"),
    ]
    assert api.client.get(f"/v1/jobs/{job['id']}").json()["webhook"] == {**hook, "secret": None}
    assert api.client.post("/v1/jobs", json=body, headers=key).json() == job
    listed = api.client.get("/v1/webhooks", params={"job": job["id"]}).json()["data"]
    assert [one["id"] for one in listed] == [hook["id"]]
