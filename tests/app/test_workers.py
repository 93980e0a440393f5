"""Who is there to do jobs, as every project may see it."""

from __future__ import annotations

from app.database import transaction
from app.ledger.queue.capacity import Capacity, note_measured, saw_worker
from app.ledger.queue.quarantine import note_sick
from app.ledger.queue.steps import claim_step
from tests.app.api_harness import Api


def test_workers_say_what_they_have_and_whether_they_are_busy(api: Api) -> None:
    assert api.client.get("/v1/workers").json()["data"] == []
    api.job()
    with transaction(api.engine) as session:
        saw_worker(session, "a:1", Capacity(gpus=2, gpu_memory_gib=80, gpu_class="h100"))
        saw_worker(session, "b:1")
    assert claim_step(api.engine, "b:1", 60, None) is not None
    for headers in (api.reader, api.other):
        found = api.client.get("/v1/workers", headers=headers).json()["data"]
        assert [(one["id"], one["gpus"], one["gpu_class"], one["busy"]) for one in found] == [
            ("a:1", 2, "h100", False),
            ("b:1", 1, None, True),
        ]
        assert all("job" not in name for one in found for name in one)


def test_workers_are_listed_page_by_page(api: Api) -> None:
    with transaction(api.engine) as session:
        for name in ("a:1", "b:1", "c:1"):
            saw_worker(session, name)
    first = api.client.get("/v1/workers", params={"limit": 2}).json()
    assert [one["id"] for one in first["data"]] == ["a:1", "b:1"]
    second = api.client.get("/v1/workers", params={"after": first["last_id"]}).json()
    assert [one["id"] for one in second["data"]] == ["c:1"]


def test_an_operator_releases_a_worker_from_quarantine(api: Api) -> None:
    api.job()
    with transaction(api.engine) as session:
        saw_worker(session, "a:1")
        note_sick(session, "a:1", "The self-test failed: cuda:0 is broken")
    assert claim_step(api.engine, "a:1", 60, None) is None
    shown = api.client.get("/v1/workers").json()["data"][0]
    assert shown["sick"] == "The self-test failed: cuda:0 is broken"
    assert shown["sick_since"] is not None
    path = "/v1/workers/a:1/release"
    assert api.client.post(path, headers=api.admin).status_code == 403
    assert api.client.post("/v1/workers/b:1/release").status_code == 404
    assert api.client.post(path).json()["sick"] is None
    assert claim_step(api.engine, "a:1", 60, None) is not None


def test_what_a_worker_measures_is_shown_and_a_metric(api: Api) -> None:
    gpu = {"utilization": 0.93, "memory_gib": 79.6, "memory_used_gib": 2.0, "temperature_c": 61}
    told = {"gpus": [gpu, gpu], "tokens_per_second": 1234.5, "prefix_cache_hits": 0.6}
    with transaction(api.engine) as session:
        saw_worker(session, "a:1")
        note_measured(session, "a:1", told)
        saw_worker(session, "b:1")
    first, second = api.client.get("/v1/workers").json()["data"]
    assert first["measured"] == told
    assert second["measured"] is None
    text = api.client.get("/metrics").text
    assert 'star_gpu_utilization{worker="a:1",gpu="1"} 0.93' in text
    assert 'star_gpu_memory_used_bytes{worker="a:1",gpu="0"} 2147483648' in text
    assert 'star_worker_tokens_per_second{worker="a:1"} 1234.5' in text
    assert 'star_worker_prefix_cache_hits{worker="a:1"} 0.6' in text
