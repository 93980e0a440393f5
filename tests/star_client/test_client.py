"""The SDK against the real application."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import httpx2
import pytest
from pydantic import ValidationError

from app.database import transaction
from app.tables.jobs import Iteration
from star_client.client import StarClient
from star_client.errors import NotAuthorised, NotFound, Refused, ServerFailed, Unreachable
from star_client.jobs import _lines
from tests.app.api_harness import MODEL, addition_rows, few_shot
from tests.star_client.conftest import Finished
from tests.star_client.recorded_platform import Fault, Platform


def no_pause(_seconds: float) -> None:
    pass


def upload(star: StarClient, folder: Path, rows: str | None = None, validation: int = 0) -> str:
    file = folder / "rows.jsonl"
    file.write_text(rows if rows is not None else addition_rows())
    return star.datasets.upload(file, kind="scratchpad", validation=validation).id


def test_an_uploaded_dataset_is_found_again_with_its_examples(star: StarClient, tmp_path: Path) -> None:
    dataset = star.datasets.get(upload(star, tmp_path, validation=4))
    assert (dataset.object, dataset.name, dataset.kind) == ("dataset", "rows", "scratchpad")
    assert dataset.splits == {"train": 8, "validation": 4}
    assert [one.id for one in star.datasets.list().data] == [dataset.id]
    assert len(list(star.datasets.examples(dataset.id))) == 12
    assert len(list(star.datasets.examples(dataset.id, split="validation"))) == 4


def test_a_long_list_is_read_page_by_page(star: StarClient, server: Platform, tmp_path: Path) -> None:
    dataset_id = upload(star, tmp_path, addition_rows(2500))
    found = [one.id for one in star.datasets.examples(dataset_id)]
    assert len(found) == len(set(found)) == 2500
    assert len(server.wire.sent("GET", "/examples")) == 3


def test_bad_rows_are_refused_with_their_lines(star: StarClient, tmp_path: Path) -> None:
    with pytest.raises(Refused) as refusal:
        upload(star, tmp_path, '{"question": "1 + 1", "answer": "2"}\n{"question": "1 + 2"}\n')
    assert refusal.value.status == 422
    assert [error.line for error in refusal.value.errors] == [2]
    assert "line 2, answer:" in str(refusal.value)
    assert star.datasets.list().data == ()


def test_prompt_sets_are_made_from_examples(star: StarClient) -> None:
    prompt_set = star.prompt_sets.create(name="two", kind="scratchpad", examples=few_shot())
    assert star.prompt_sets.get(prompt_set.id) == prompt_set
    assert len(prompt_set.examples) == 2
    assert [one.id for one in star.prompt_sets.list().data] == [prompt_set.id]


def test_presets_are_listed_with_their_settings_for_a_kind(star: StarClient) -> None:
    found = {one.id: one for one in star.presets.list("choice").data}
    assert found["star"].config["iterations"] == 30
    assert "arXiv 2203.14465" in found["star"].description
    assert found["few-shot-cot"].config["baselines_only"] is True


def test_models_of_the_allow_list_are_shown(star: StarClient) -> None:
    assert [one.id for one in star.models.list().data] == [MODEL]
    assert star.models.get(MODEL).license == "apache-2.0"


def test_objects_are_frozen(star: StarClient) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        star.models.get(MODEL).license = "mine"  # type: ignore[misc]  # that is the point


def test_what_does_not_exist_is_not_found(star: StarClient) -> None:
    with pytest.raises(NotFound) as problem:
        star.jobs.get("job_nothing")
    assert problem.value.code == "not_found"
    assert problem.value.request_id


def test_a_wrong_key_and_a_key_without_the_scope_are_not_authorised(server: Platform, tmp_path: Path) -> None:
    with server.client("star_wrong") as star, pytest.raises(NotAuthorised):
        star.models.list()
    with server.client(server.reader_key) as star:
        assert star.models.list().data
        with pytest.raises(NotAuthorised):
            upload(star, tmp_path)


def test_a_job_can_be_paused_resumed_and_cancelled(
    star: StarClient, server: Platform, tmp_path: Path
) -> None:
    job_id = server.submit(tmp_path)
    assert star.jobs.get(job_id).status == "queued"
    assert star.jobs.pause(job_id).status == "paused"
    assert star.jobs.resume(job_id).status == "queued"
    job = star.jobs.cancel(job_id)
    assert (job.status, job.is_terminal, job.stop_reason) == ("cancelled", True, "user_cancelled")
    assert [one.id for one in star.jobs.list(status="cancelled").data] == [job_id]
    assert star.jobs.list(status="running").data == ()
    with pytest.raises(Refused) as refusal:
        star.jobs.resume(job_id)
    assert refusal.value.status == 409


def test_a_job_that_cannot_work_is_refused_before_it_begins(
    star: StarClient, server: Platform, tmp_path: Path
) -> None:
    with pytest.raises(Refused) as refusal:
        server.submit(tmp_path, iterations=0)
    assert [error.field for error in refusal.value.errors] == ["config.iterations"]
    assert star.jobs.list().data == ()


def test_reads_are_repeated_while_the_server_is_busy(star: StarClient, server: Platform) -> None:
    server.wire.faults = [
        Fault("/v1/models", times=2, status=503),
        Fault("/v1/models", times=1, cut_after=10),
    ]
    assert len(star.models.list().data) == 1
    assert len(server.wire.sent("GET", "/v1/models")) == 4


def test_a_server_that_stays_busy_is_given_up_with_its_answer(star: StarClient, server: Platform) -> None:
    server.wire.faults = [Fault("/v1/models", times=99, status=503)]
    with pytest.raises(ServerFailed, match="503 Service Unavailable"):
        star.models.list()


def test_an_answer_lost_on_the_way_does_not_make_a_second_job(
    star: StarClient, server: Platform, tmp_path: Path
) -> None:
    server.wire.faults = [Fault("/v1/jobs", times=2, cut_after=0)]
    job_id = server.submit(tmp_path)
    keys = {headers["idempotency-key"] for headers in server.wire.sent("POST", "/v1/jobs")}
    assert (len(server.wire.sent("POST", "/v1/jobs")), len(keys)) == (3, 1)
    assert [one.id for one in star.jobs.list().data] == [job_id]


def test_an_upload_is_sent_whole_again(star: StarClient, server: Platform, tmp_path: Path) -> None:
    server.wire.faults = [Fault("/v1/datasets", times=2, status=502)]
    assert star.datasets.get(upload(star, tmp_path)).splits == {"train": 12}


def test_a_cancel_whose_answer_was_lost_is_not_sent_twice(
    star: StarClient, server: Platform, tmp_path: Path
) -> None:
    job_id = server.submit(tmp_path)
    server.wire.faults = [Fault("/cancel", times=99, cut_after=0)]
    with pytest.raises(Unreachable):
        star.jobs.cancel(job_id)
    assert len(server.wire.sent("POST", "/cancel")) == 1
    assert star.jobs.get(job_id).status == "cancelled"


def test_a_server_that_is_not_there_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    star = StarClient(f"http://127.0.0.1:{port}", "star_key", pause=no_pause)
    with star, pytest.raises(Unreachable, match=f"http://127.0.0.1:{port} does not answer"):
        star.models.list()


def test_a_server_that_has_answered_once_is_waited_for(server: Platform) -> None:
    pauses: list[float] = []
    with StarClient(server.url, server.key, pause=pauses.append) as star:
        star.models.list()
        server.stop()
        with pytest.raises(Unreachable):
            star.models.list()
    assert len(pauses) == 5
    assert pauses == sorted(pauses)


def test_events_are_the_whole_story_in_order(finished: Finished) -> None:
    events = list(finished.star.jobs.events(finished.job_id))
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [events[0].type, events[-1].type] == ["job.created", "job.succeeded"]
    assert [one.seq for one in finished.star.jobs.events(finished.job_id, after=3)] == list(
        range(4, len(events) + 1)
    )
    assert list(finished.star.jobs.list_events(finished.job_id, limit=1000).data) == events


@pytest.mark.parametrize("cut_after", [0, 500, 1500])
def test_an_event_stream_that_breaks_goes_on_without_loss_or_doubling(
    finished: Finished, cut_after: int
) -> None:
    whole = [event.seq for event in finished.star.jobs.events(finished.job_id)]
    finished.server.wire.requests.clear()
    finished.server.wire.faults = [
        Fault("/stream", times=2, cut_after=cut_after),
        Fault("/stream", times=1, status=503),
    ]
    assert [event.seq for event in finished.star.jobs.events(finished.job_id)] == whole
    connections = finished.server.wire.sent("GET", "/stream")
    assert len(connections) == 4
    resumed = [int(headers.get("last-event-id", 0)) for headers in connections]
    assert resumed == sorted(resumed)
    assert (resumed[-1] > 0) == (cut_after > 0)


def test_an_event_stream_of_a_server_that_stays_away_ends(finished: Finished) -> None:
    finished.server.wire.faults = [Fault("/stream", times=99, status=503)]
    with pytest.raises(Unreachable):
        next(finished.star.jobs.events(finished.job_id))


def test_iterations_carry_their_metrics(finished: Finished) -> None:
    few_shot_iteration, first, second = finished.star.jobs.iterations(finished.job_id)
    assert few_shot_iteration.metrics.baselines.keys() == {"few_shot_direct", "few_shot_cot"}
    assert first.metrics.coverage["rationalized"] > 0
    assert first.metrics.accuracy == second.metrics.accuracy == 1.0
    assert finished.star.jobs.iteration(finished.job_id, 2) == second


def test_the_report_of_a_job_comes_in_three_forms(finished: Finished) -> None:
    found = json.loads(finished.star.jobs.report(finished.job_id, "json"))
    iterations = [row["iteration"] for row in found["accuracies"] if row["mode"] == "adapter"]
    assert iterations == [1, 2]
    assert [row["phase"] for row in found["cost"]] == [
        "baselines", "sample", "build", "train", "verify_adapter", "evaluate", "test_time"
    ]  # fmt: skip
    best = finished.star.jobs.get(finished.job_id).best
    assert best is not None
    assert found["answer"]["iteration"] == best.iteration
    text = finished.star.jobs.report(finished.job_id)
    assert text.startswith("# STaR report: ")
    assert found["answer"]["sentence"].split(":")[0] in text
    assert finished.star.jobs.report(finished.job_id, "html").startswith("<!doctype html>")


def test_iterations_beyond_one_page_are_found(star: StarClient, server: Platform, tmp_path: Path) -> None:
    job_id = server.submit(tmp_path)
    with transaction(server.engine) as session:
        session.add_all(
            Iteration(job_id=job_id, number=number, phases_done=[], metrics={}) for number in range(1, 250)
        )
    assert [one.number for one in star.jobs.iterations(job_id)] == list(range(250))


def test_rationales_are_filtered_and_lead_to_the_training_set(finished: Finished) -> None:
    star, job_id = finished.star, finished.job_id
    kept = list(star.rationales.every(job_id, iteration=1, decision="kept"))
    rows = {(row.example_id, row.route, row.sample): row for row in star.jobs.training_set(job_id, 1)}
    assert {(one.example.id, one.route, one.sample) for one in kept} == rows.keys()
    rationalized = next(one for one in kept if one.route == "rationalized")
    found = star.rationales.get(job_id, rationalized.id)
    assert found.hint
    assert found.training_row is not None
    assert found.training_row["prompt"] == rows[found.example.id, found.route, found.sample].prompt
    history = star.jobs.history(job_id, found.example.id)
    assert {one.example.id for one in history} == {found.example.id}
    assert {one.iteration for one in history} == {1, 2}
    page = star.rationales.list(job_id, limit=3)
    assert (len(page.data), page.has_more) == (3, True)


def test_the_best_adapter_of_a_job_is_one_of_its_adapters(finished: Finished) -> None:
    best = finished.star.jobs.get(finished.job_id).best
    assert best is not None
    adapters = finished.star.adapters.list(finished.job_id)
    assert [one.iteration for one in adapters] == [1, 2]
    assert best.adapter_id in [one.id for one in adapters]


def test_a_training_set_is_read_by_its_line_feeds_alone() -> None:
    """U+2028, U+0085 and the form feed are line ends to Python, and text to JSON."""
    row = '{"text": "one\u2028two\x85three"}'.encode()
    data = row + b"\n" + row + b"\n"
    for size in (1, 5, len(data)):
        chunks = [data[start : start + size] for start in range(0, len(data), size)]
        assert list(_lines(chunks)) == [row, row]


def test_a_request_that_follows_a_download_on_its_connection_is_not_given_up(server: Platform) -> None:
    """It starts in the context of the one before it, whose client counts as gone once it has its answer."""
    purpose = {"purpose": "fine-tune"}
    file = {"file": ("train.jsonl", b'{"messages": []}\n' * 100)}
    with httpx2.Client(base_url=server.url, headers={"Authorization": f"Bearer {server.key}"}) as client:
        content = f"/v1/files/{client.post('/v1/files', files=file, data=purpose).json()['id']}/content"
        answers = [client.get(path).status_code for _ in range(20) for path in (content, "/v1/jobs")]
    assert set(answers) == {200}
