"""Traces: one for a request, its job, the job's steps and the calls to the GPU process, in any process."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy.orm import Session

import app.main
from app.database import transaction
from app.ledger.jobs.jobs import cancel_job, get_job
from app.ledger.queue.steps import fail_step
from app.log import configure_logging
from app.settings import Settings
from app.storage import Storage
from app.tracing import spans
from app.tracing.recording import OpenTelemetry
from app.tracing.spans import span, traceparent, use_recorder
from app.tracing.start import TracingUnavailable, start_tracing
from tests.app.api_harness import serve
from tests.databases import PROJECT
from tests.factories import TRAIN, World, make_world
from worker.gpu.process import child_environment
from worker.shared_calls import work_on
from worker.tracing.claims import claim_next

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """What this process records while a test runs."""
    exporter = InMemorySpanExporter()
    monkeypatch.setattr(app.main, "start_tracing", lambda *_: lambda: None)
    use_recorder(OpenTelemetry("test", SimpleSpanProcessor(exporter)))
    yield exporter
    use_recorder(None)


@pytest.fixture
def world(sqlite_database_url: str, tmp_path: Path) -> World:
    return make_world(sqlite_database_url, tmp_path / "home")


def work_off(world: World) -> None:
    worker = world.worker_context()
    try:
        while (claim := claim_next(worker)) is not None:
            work_on(worker, claim)
    finally:
        worker.drop_gpu()


def by_name(exporter: InMemorySpanExporter) -> dict[str, list[ReadableSpan]]:
    found: dict[str, list[ReadableSpan]] = {}
    for one in exporter.get_finished_spans():
        found.setdefault(one.name, []).append(one)
    return found


def parent_of(one: ReadableSpan) -> int | None:
    return None if one.parent is None else one.parent.span_id


def id_of(one: ReadableSpan) -> int:
    assert one.context is not None
    span_id: int = one.context.span_id
    return span_id


def test_a_jobs_steps_and_their_gpu_calls_are_below_the_span_that_made_it(
    world: World, recorded: InMemorySpanExporter
) -> None:
    with span("made here"):
        job_id = world.submit(iterations=1)
    work_off(world)
    found = by_name(recorded)
    (made,), (job,) = found["made here"], found["job"]
    assert parent_of(job) == id_of(made)
    assert job.attributes is not None
    assert (job.attributes["star.job.id"], job.attributes["star.job.status"]) == (job_id, "succeeded")
    steps = {id_of(one): one for name in found if name.startswith("step ") for one in found[name]}
    assert {one.name for one in steps.values()} >= {
        "step sample",
        "step build",
        "step train",
        "step evaluate",
    }
    assert {parent_of(one) for one in steps.values()} == {id_of(job)}
    assert {parent_of(one) for one in found["claim"]} == {id_of(job)}
    assert len(found["claim"]) == len(steps)
    for call in ("text_completion pupil", "train pupil", "gpu use"):
        assert {parent_of(one) in steps for one in found[call]} == {True}, call
    assert {parent_of(one) in steps for one in found["record"]} == {True}
    assert {one.context.trace_id for one in recorded.get_finished_spans() if one.context} == {
        made.context.trace_id
    }


def test_a_step_is_linked_to_the_span_in_which_it_was_planned(
    world: World, recorded: InMemorySpanExporter
) -> None:
    with span("made here"):
        world.submit(iterations=1)
    work_off(world)
    found = by_name(recorded)
    steps = {id_of(one): one.name for name in found if name.startswith("step ") for one in found[name]}
    (build,) = found["step build"]
    assert [steps[link.context.span_id] for link in build.links] == ["step sample"]
    first = found["step baselines"][0]
    assert [link.context.span_id for link in first.links] == [id_of(found["made here"][0])]


def test_spans_say_what_was_asked_by_the_conventions_of_generative_models(
    world: World, recorded: InMemorySpanExporter
) -> None:
    world.submit(iterations=1)
    work_off(world)
    found = by_name(recorded)
    asked, trained = found["text_completion pupil"][0].attributes, found["train pupil"][0].attributes
    assert asked is not None
    assert trained is not None
    assert asked["gen_ai.operation.name"] == "text_completion"
    assert (asked["gen_ai.request.model"], asked["gen_ai.provider.name"]) == ("pupil", "scripted")
    limits = {
        one.attributes["gen_ai.request.max_tokens"]
        for one in found["text_completion pupil"]
        if one.attributes
    }
    assert 400 in limits
    assert int(str(asked["gen_ai.usage.output_tokens"])) > 0
    assert trained["star.training.steps"] == 3
    slices = [one.attributes for one in found["step sample"] if one.attributes]
    assert min(int(str(one["star.slice.start"])) for one in slices) == 0
    assert max(int(str(one["star.slice.stop"])) for one in slices) == TRAIN
    assert {one.attributes["star.storage.system"] for one in found["storage put"] if one.attributes} == {
        "file"
    }


def test_no_text_key_or_message_is_in_a_span(world: World, recorded: InMemorySpanExporter) -> None:
    job_id = world.submit(iterations=1)
    work_off(world)
    with pytest.raises(ValueError, match="what a user wrote"), span("fails"):
        raise ValueError("what a user wrote")
    sent = json.dumps([json.loads(one.to_json()) for one in recorded.get_finished_spans()])
    assert job_id in sent
    for secret in ("what a user wrote", "<scratch>", "C: 0", str(world.settings.home)):
        assert secret not in sent


def test_a_step_that_fails_fails_its_span_and_its_jobs(world: World, recorded: InMemorySpanExporter) -> None:
    world.submit(iterations=1)
    worker = world.worker_context()
    claim = claim_next(worker)
    assert claim is not None
    error = {"code": "broken", "category": "user", "message": "what a user wrote", "hint": ""}
    with transaction(world.engine) as session:
        fail_step(session, claim, error, retryable=False, settings=world.settings)
    (job,) = by_name(recorded)["job"]
    assert not job.status.is_ok
    assert job.attributes is not None
    assert job.attributes["error.type"] == "broken"


def test_a_job_that_is_rolled_back_leaves_no_span(world: World, recorded: InMemorySpanExporter) -> None:
    job_id = world.submit(iterations=1)
    with world.engine.connect() as connection, Session(connection) as session:
        cancel_job(session, get_job(session, world.project_id, job_id))
        session.rollback()
    assert "job" not in by_name(recorded)
    with transaction(world.engine) as session:
        cancel_job(session, get_job(session, world.project_id, job_id))
    assert len(by_name(recorded)["job"]) == 1


def test_a_request_joins_the_callers_trace_and_says_its_route_and_no_path(
    sqlite_database_url: str, tmp_path: Path, recorded: InMemorySpanExporter
) -> None:
    with serve(sqlite_database_url, tmp_path / "home", traces="otlp") as api:
        answer = api.client.get("/v1/jobs/job_nobodys?secret=x", headers={"traceparent": CALLER})
        assert answer.status_code == 404
        api.client.get("/healthz")
        (asked,) = recorded.get_finished_spans()
    assert asked.name == "GET /v1/jobs/{job_id}"
    assert asked.context is not None
    assert f"{asked.context.trace_id:032x}" == CALLER.split("-")[1]
    assert f"{parent_of(asked):016x}" == CALLER.split("-")[2]
    assert (
        dict(asked.attributes or {}).items()
        >= {
            "http.request.method": "GET",
            "http.route": "/v1/jobs/{job_id}",
            "http.response.status_code": 404,
        }.items()
    )
    assert "secret" not in asked.to_json()
    assert "job_nobodys" not in asked.to_json()


def test_a_job_of_a_request_that_is_not_sampled_is_in_no_trace(
    sqlite_database_url: str, tmp_path: Path, recorded: InMemorySpanExporter
) -> None:
    with serve(sqlite_database_url, tmp_path / "home", traces="otlp") as api:
        body = api.job_body()
        recorded.clear()
        job_id = api.client.post("/v1/jobs", json=body, headers=UNSAMPLED).json()["id"]
        assert api.client.post(f"/v1/jobs/{job_id}/cancel", headers=UNSAMPLED).status_code == 202
    assert recorded.get_finished_spans() == ()


def test_nothing_is_stored_or_imported_while_tracing_is_off(world: World) -> None:
    job = world.job(world.submit(iterations=1))
    assert job.trace is None
    assert traceparent() is None
    assert spans.begin("x") is spans.begin("y")
    modules = "import app.main, worker.tasks, sys; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", modules], capture_output=True, text=True, cwd=PROJECT)
    assert "app.tracing.spans" in said.stdout.split(), said.stderr
    assert {"app.tracing.recording", "opentelemetry.sdk.trace"}.isdisjoint(said.stdout.split())


def test_a_deployment_without_the_packages_is_told_which_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(TracingUnavailable, match=r"pip install 'star-service\[otel\]'"):
        start_tracing(Settings(traces="otlp"), "api")


def test_the_extra_pins_what_vllm_brings_along() -> None:
    extra = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"][
        "otel"
    ]
    locked = {
        one["name"]: one["version"] for one in tomllib.loads((PROJECT / "uv.lock").read_text())["package"]
    }
    assert extra == [f"{one.split('==')[0]}=={locked[one.split('==')[0]]}" for one in extra]


def test_a_gpu_process_gets_none_of_the_collectors_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer secret")
    assert "OTEL_EXPORTER_OTLP_HEADERS" not in child_environment(None)


def test_a_log_line_names_its_trace(
    recorded: InMemorySpanExporter, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging()
    with span("at work"):
        structlog.get_logger().info("said")
    structlog.get_logger().info("said elsewhere")
    inside, outside = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    (one,) = recorded.get_finished_spans()
    assert one.context is not None
    assert inside["trace_id"] == f"{one.context.trace_id:032x}"
    assert "trace_id" not in outside


def test_storage_spans_name_what_was_moved(tmp_path: Path, recorded: InMemorySpanExporter) -> None:
    storage = Storage(str(tmp_path / "store"))
    (tmp_path / "file").write_bytes(b"12345")
    sha = storage.put_file(tmp_path / "file")
    storage.fetch(sha, tmp_path / "copy")
    put, got = recorded.get_finished_spans()
    assert (put.name, got.name) == ("storage put", "storage get")
    for one in (put, got):
        assert dict(one.attributes or {}) == {
            "star.storage.system": "file",
            "star.storage.bytes": 5,
            "star.artifact.sha256": sha,
        }
