from __future__ import annotations

from sqlalchemy import update

from app.database import clock, transaction
from app.ledger.platform.counters import count
from app.ledger.queue.capacity import Capacity
from app.ledger.queue.steps import claim_step, fail_step, finish_step
from app.tables.jobs import Step
from tests.app.api_harness import Api


def scrape(api: Api) -> dict[str, float]:
    answer = api.client.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = [line.rpartition(" ") for line in answer.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def test_an_empty_deployment_reports_zeros(api: Api) -> None:
    found = scrape(api)
    assert found["star_queue_age_seconds"] == found["star_expired_leases"] == 0


def test_metrics_follow_the_ledger(api: Api) -> None:
    api.job()
    before = scrape(api)
    assert before['star_jobs{status="queued"}'] == 1
    queued = before['star_open_steps{phase="baselines",status="queued"}']
    assert queued == before["star_waiting_notifications"] == 2
    claim = claim_step(api.engine, "worker:1", 60)
    assert claim is not None
    error = {"code": "x", "category": "platform", "message": "", "hint": ""}
    with transaction(api.engine) as session:
        fail_step(session, claim, error, retryable=True, settings=api.settings)
        session.execute(update(Step).values(created_at=clock(-100)))
        count(session, "fence_rejections")
    claim_step(api.engine, "worker:1", -1)  # a lease that is over at once
    after = scrape(api)
    assert after["star_step_retries_total"] == after["star_fence_rejections_total"] == 1
    assert after["star_expired_leases"] == 1
    assert 100 <= after["star_queue_age_seconds"] < 1000


def test_gpu_seconds_are_those_of_a_model_and_a_class(api: Api) -> None:
    job = api.job()
    claim = claim_step(api.engine, "worker:1", 60, capacity=Capacity(gpu_class="h100"))
    assert claim is not None
    with transaction(api.engine) as session:
        session.execute(update(Step).where(Step.id == claim.step_id).values(started_at=clock(-10)))
        finish_step(session, claim, api.settings)
    name = f'star_gpu_seconds_total{{phase="baselines",model="{job["model"]}",gpu_class="h100"}}'
    assert scrape(api)[name] >= 10


def test_metrics_need_an_operators_key(api: Api) -> None:
    for headers in (api.reader, api.admin):
        assert api.client.get("/metrics", headers=headers).status_code == 403
