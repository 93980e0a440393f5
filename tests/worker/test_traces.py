"""One trace over real processes: the API, a worker and a scheduler send it to a receiver of OTLP/HTTP."""

from __future__ import annotations

from pathlib import Path

import httpx2

from tests.app.api_harness import serve
from tests.factories import SCRIPT, World
from tests.otlp_receiver import Received, otlp_receiver
from tests.platforms import WORKER, platform, wait_until
from worker.valkey import free_port

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACED = {
    "STAR_TRACES": "otlp",
    "STAR_SAMPLER": "scripted",
    "STAR_SAMPLER_SCRIPT": SCRIPT,
    "OTEL_BSP_SCHEDULE_DELAY": "200",
    "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer of-the-collector",
}


def test_the_api_and_a_worker_send_one_trace_of_a_job(
    sqlite_database_url: str, empty_valkey_url: str, tmp_path: Path
) -> None:
    with serve(sqlite_database_url, tmp_path / "home") as api, otlp_receiver() as received:
        body, port = api.job_body(config={"iterations": 1, "generation": {"max_tokens": 100}}), free_port()
        variables = {**TRACED, "OTEL_EXPORTER_OTLP_ENDPOINT": received.url}
        with platform(World(api.engine, api.settings, "", "", "", ""), empty_valkey_url) as running:
            running.scheduler(**variables)
            running.worker("worker", WORKER, **variables)
            running.api("api", port, **variables)
            headers = {**api.client.headers, "traceparent": CALLER}
            with httpx2.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as client:
                wait_until(lambda: answers(client), "the API answers")
                made = client.post("/v1/jobs", json=body)
            assert made.status_code == 201, made.text
            running.wait_for(made.json()["id"], "succeeded")
            wait_until(lambda: received.named("job"), "the job's span arrives")
        spans = [one for one in received.spans if one.trace_id == CALLER.split("-")[1]]
    (request,) = (one for one in spans if one.name == "POST /v1/jobs")
    (job,) = (one for one in spans if one.name == "job")
    steps = {one.span_id for one in spans if one.name.startswith("step ")}
    assert request.parent_id == CALLER.split("-")[2]
    assert job.parent_id == request.span_id
    assert {one.parent_id for one in spans if one.span_id in steps} == {job.span_id}
    assert {one.parent_id in steps for one in named(spans, "text_completion", "train")} == {True}
    assert request.service == "star-api"
    assert {one.service for one in spans if one.span_id in steps} == {"star-worker"}
    assert received.paths == {"/v1/traces"}
    sent = str(received.spans)
    assert "of-the-collector" not in sent
    assert api.client.headers["authorization"] not in sent


def answers(client: httpx2.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx2.TransportError:
        return False


def named(spans: list[Received], *beginnings: str) -> list[Received]:
    found = [one for one in spans if one.name.startswith(beginnings)]
    assert found
    return found
