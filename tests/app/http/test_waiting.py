"""Clients that wait for events of a job that still runs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from app.database import transaction
from app.ledger.jobs.jobs import cancel_job
from app.tables.jobs import Job
from tests.app.api_harness import Api


def test_long_poll_ends_with_the_event_that_it_waited_for(api: Api) -> None:
    job = api.job()
    url = f"/v1/jobs/{job['id']}/events"
    last = int(api.client.get(url).json()["data"][-1]["seq"])
    assert api.client.get(url, params={"after": last, "wait": 0.01}).json()["data"] == []
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(api.client.get, url, params={"after": last, "wait": 30})
        cancel(api, job["id"])
        answer = waiting.result(timeout=60)
    assert [event["type"] for event in answer.json()["data"]] == ["job.cancelled"]


def test_stream_goes_on_live_until_the_job_ends(api: Api) -> None:
    job = api.job()
    with ThreadPoolExecutor(1) as pool:
        streaming = pool.submit(api.client.get, f"/v1/jobs/{job['id']}/events/stream")
        assert api.client.get(f"/v1/jobs/{job['id']}").json()["status"] == "queued"
        assert not streaming.done()  # the job has not ended, so neither has the stream
        cancel(api, job["id"])
        answer = streaming.result(timeout=60)
    types = [line.removeprefix("event: ") for line in answer.text.splitlines() if line.startswith("event: ")]
    assert types[0] == "job.created"
    assert types[-2:] == ["job.cancelled", "done"]


def test_stream_of_another_projects_job_is_404_before_it_begins(api: Api) -> None:
    answer = api.client.get(f"/v1/jobs/{api.job()['id']}/events/stream", headers=api.other)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def cancel(api: Api, job_id: str) -> None:
    with transaction(api.engine) as session:
        job = session.get_one(Job, job_id)
        cancel_job(session, job)
