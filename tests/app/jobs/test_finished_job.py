"""What a job leaves behind, over HTTP: a whole job with a scripted model is run once per database."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet
from starlette.testclient import TestClient

from star_engine.data.selection import training_seed
from star_engine.filters.funnel import STAGES
from tests import databases
from tests.app.api_harness import Api, addition_rows, serve, worker
from tests.factories import CONFIG, SCRIPT

LAYOUT = [
    "README.md",
    "adapter_config.json",
    "adapter_model.safetensors",
    "manifest.json",
    "prompt_example.txt",
]


@dataclass(frozen=True)
class Finished:
    api: Api
    job: dict[str, Any]
    url: str

    @property
    def client(self) -> TestClient:
        return self.api.client

    def get(self, path: str, **params: Any) -> Any:
        answer = self.client.get(self.url + path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def all(self, path: str, limit: int, **params: Any) -> list[dict[str, Any]]:
        """Every page, one after the other."""
        found: list[dict[str, Any]] = []
        page = self.get(path, limit=limit, **params)
        while True:
            found += page["data"]
            if not page["has_more"]:
                return found
            page = self.get(path, limit=limit, after=page["last_id"], **params)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    folder = tmp_path_factory.mktemp("finished")
    if request.param == "sqlite":
        url = f"sqlite:///{folder / 'star.db'}"
        databases.migrate(url)
        yield from run_job(url, folder / "home")
    else:
        with databases.postgres_copy(request.getfixturevalue("postgres_template")) as url:
            yield from run_job(url, folder / "home")


def run_job(database_url: str, home: Path) -> Iterator[Finished]:
    settings = {"sampler": "scripted", "sampler_script": SCRIPT, "shard_examples": 6}
    with serve(database_url, home, **settings) as api:
        dataset = api.dataset(addition_rows(24), validation=8)
        config = {name: value for name, value in CONFIG.items() if name != "kind"}
        job = api.job(dataset=dataset["id"], config=config)
        with worker(api) as work_off:
            work_off()
        url = f"/v1/jobs/{job['id']}"
        yield Finished(api, api.client.get(url).json(), url)


def test_job_tells_how_it_ended_and_its_best_iteration(finished: Finished) -> None:
    job = finished.job
    assert (job["status"], job["stop_reason"]) == ("succeeded", "completed_iterations"), job["status_reason"]
    assert (job["is_terminal"], job["phase"], job["progress"]) == (True, None, {})
    adapters = finished.get("/adapters")["data"]
    assert job["best"] == {
        "iteration": 1, "accuracy": 1.0, "adapter_id": adapters[0]["id"],
        "few_shot": 0.5, "below_few_shot": False, "inherited": False
    }  # fmt: skip
    measured = [(turn["number"], turn["metrics"]["accuracy"]) for turn in finished.get("/iterations")["data"]]
    assert [(one["iteration"], one["accuracy"]) for one in job["accuracies"]] == measured
    assert job["created_by"]["name"] == "operator"


def test_iterations_carry_metrics_and_their_adapter(finished: Finished) -> None:
    iterations = finished.get("/iterations")["data"]
    adapters = finished.get("/adapters")["data"]
    assert [iteration["number"] for iteration in iterations] == [0, 1, 2]
    assert [iteration["adapter_id"] for iteration in iterations] == [None, *(a["id"] for a in adapters)]
    assert set(iterations[0]["metrics"]["baselines"]) == {"few_shot_direct", "few_shot_cot"}
    assert iterations[1]["metrics"]["accuracy"] == 1.0
    assert iterations[1]["phases_done"] == ["sample", "build", "train", "verify_adapter", "evaluate"]
    assert finished.get("/iterations/1") == iterations[1]
    assert [i["number"] for i in finished.get("/iterations", after=0, limit=1)["data"]] == [1]
    assert finished.client.get(f"{finished.url}/iterations/3").status_code == 404


def test_funnel_of_an_iteration_sums_to_its_rationales_and_stands_in_the_report(finished: Finished) -> None:
    metrics = finished.get("/iterations/1")["metrics"]
    tries = finished.get("/rationales", iteration=1, limit=1000)["data"]
    for route, reached in metrics["funnel"].items():
        assert reached["sampled"] == sum(item["route"] == route for item in tries)
        assert reached["trained"] == metrics["kept"][route]
        assert reached["sampled"] - reached["trained"] == sum(metrics["dropped"][route].values())
        counts = [reached[stage] for stage in STAGES]
        assert counts == sorted(counts, reverse=True)
    assert finished.get("/report", format="json")["coverage"][0]["funnel"] == metrics["funnel"]
    page = finished.client.get(f"{finished.url}/report", params={"format": "markdown"}).text
    assert "## From sampled to trained" in page


def test_audits_of_an_iteration_stand_in_its_metrics_and_in_the_report(finished: Finished) -> None:
    first, second = (finished.get(f"/iterations/{n}")["metrics"]["audits"] for n in (1, 2))
    tries = finished.get("/rationales", iteration=1, limit=1000)["data"]
    assert first["verdicts"]["checked"] == first["verdicts"]["agreed"] == len(tries)
    assert first["rationalization_yield"] is None
    taught = len(finished.get("/rationales", iteration=1, route="rationalized", decision="kept")["data"])
    expected = {"of_iteration": 1, "taught": taught, "asked": taught, "solved": taught, "share": 1.0}
    assert second["rationalization_yield"] == expected
    assert second["length"]["drift"] == pytest.approx(
        second["length"]["mean"] / first["length"]["mean"] - 1, abs=1e-4
    )
    assert 0 < first["luck"]["chance"] < 0.5
    assert first["determinism"] == {"checked": 4, "same_text": 4, "same_answer": 4, "grade": "exact"}
    assert len(first["sampler_tokens"]) > 4
    page = finished.client.get(f"{finished.url}/report", params={"format": "html"}).text
    assert "Audits of the training data" in page


def test_card_and_manifest_tell_the_accuracy_that_was_measured_after_them(finished: Finished) -> None:
    iterations = finished.get("/iterations")["data"]
    for iteration in iterations[1:]:
        url = f"/v1/adapters/{iteration['adapter_id']}"
        listed = {entry["path"]: entry for entry in finished.client.get(url).json()["files"]}
        card = finished.client.get(f"{url}/files/README.md").content
        manifest = json.loads(finished.client.get(f"{url}/files/manifest.json").content)
        assert f"| held-out accuracy | {iteration['metrics']['accuracy']:.1%} (" in card.decode()
        assert manifest["evaluation"]["accuracy"] == iteration["metrics"]["accuracy"]
        assert manifest["files"]["README.md"]["sha256"] == sha256(card).hexdigest()
        assert listed["README.md"]["sha256"] == sha256(card).hexdigest()
        stated, now = manifest["evaluation"]["receipt"], finished.client.get(f"{url}/receipt").json()
        assert [one["kind"] for one in stated["claims"]] == [one["kind"] for one in now["claims"]]
        for said, known in zip(stated["claims"], now["claims"], strict=True):
            assert said["difference"] == known["difference"]
        assert stated["sentence"] in card.decode()
        own = {"iteration": iteration["number"], "sha256": iteration["training_set_sha256"]}
        assert manifest["training_sets"] == [own]


def test_service_draws_its_batches_by_the_seed_that_the_library_uses(finished: Finished) -> None:
    for iteration in finished.get("/iterations")["data"][1:]:
        expected = training_seed(finished.job["config"]["seed"], iteration["number"])
        assert iteration["metrics"]["training"]["seed"] == expected


def test_events_have_no_gaps_and_page_by_seq(finished: Finished) -> None:
    events = finished.get("/events", limit=1000)["data"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[0]["type"] == "job.created"
    assert events[-1]["type"] == "job.succeeded"
    assert events[2]["id"] == f"evt_{finished.job['id']}_3"
    page = finished.get("/events", after=3, limit=2)
    assert (page["data"], page["has_more"]) == (events[3:5], True)
    assert (
        finished.get("/events", after=len(events), wait=30)["data"] == []
    )  # it has ended: nothing to wait for


def read_stream(finished: Finished, headers: dict[str, str] | None = None) -> list[dict[str, str]]:
    """The server-sent events of a stream that ends."""
    answer = finished.client.get(f"{finished.url}/events/stream", headers=headers or {})
    assert answer.headers["content-type"].startswith("text/event-stream")
    blocks = [block for block in answer.text.split("\n\n") if block and not block.startswith(":")]
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]


def test_stream_replays_every_event_and_ends_with_done(finished: Finished) -> None:
    events = finished.get("/events", limit=1000)["data"]
    *streamed, done = read_stream(finished)
    assert [int(event["id"]) for event in streamed] == [event["seq"] for event in events]
    assert [event["event"] for event in streamed] == [event["type"] for event in events]
    assert [json.loads(event["data"]) for event in streamed] == events
    assert done["event"] == "done"
    assert "id" not in done


def test_stream_goes_on_after_the_last_event_that_was_seen(finished: Finished) -> None:
    events = finished.get("/events", limit=1000)["data"]
    *streamed, _ = read_stream(finished, {"Last-Event-ID": str(events[-3]["seq"])})
    assert [int(event["id"]) for event in streamed] == [event["seq"] for event in events[-2:]]
    assert [event["event"] for event in read_stream(finished, {"Last-Event-ID": "100000"})] == ["done"]
    bad = finished.client.get(f"{finished.url}/events/stream", headers={"Last-Event-ID": "x"})
    assert bad.status_code == 400


def test_rationales_page_through_every_try_once(finished: Finished) -> None:
    tries = finished.all("/rationales", limit=7)
    ids = [int(item["id"].removeprefix("rat_")) for item in tries]
    assert ids == sorted(set(ids))
    assert len(tries) == len(finished.get("/rationales", limit=1000)["data"])
    assert len({(t["iteration"], t["example"]["id"], t["route"], t["sample"]) for t in tries}) == len(tries)


@pytest.mark.parametrize(
    "wanted",
    [
        {"iteration": 2},
        {"route": "rationalized"},
        {"verdict": "wrong"},
        {"decision": "dropped"},
        {"reason": "wrong"},
        {"example": "row-2"},
        {"iteration": 1, "route": "generated", "decision": "kept"},
    ],
)
def test_rationales_are_filtered_by_what_is_asked(finished: Finished, wanted: dict[str, Any]) -> None:
    def fits(item: dict[str, Any]) -> bool:
        return all((item["example"]["id"] if k == "example" else item[k]) == v for k, v in wanted.items())

    everything = finished.get("/rationales", limit=1000)["data"]
    expected = [item for item in everything if fits(item)]
    assert 0 < len(expected) < len(everything)
    assert finished.all("/rationales", limit=5, **wanted) == expected


def test_rationalized_try_shows_its_hint_and_trains_without_it(finished: Finished) -> None:
    [first, *_] = finished.get("/rationales", route="rationalized", decision="kept")["data"]
    detail = finished.get(f"/rationales/{first['id']}")
    assert {name: detail[name] for name in first} == first
    example = detail["example"]
    hinted = f"Input:\n{example['question']}\nTarget: {example['answer']}"
    assert detail["prompt"].endswith(hinted)
    assert detail["hint"] == example["answer"]
    row = detail["training_row"]
    assert row["prompt"] == f"Input:\n{example['question']}\nTarget:"
    assert row["completion"] == f"\n{detail['text']}"
    start, end = detail["span"]
    assert detail["text"][start:end] == detail["extracted"]
    assert detail["trained_in"] == [detail["iteration"]]


def test_generated_try_that_was_wrong_has_neither_hint_nor_training_row(finished: Finished) -> None:
    [first, *_] = finished.get("/rationales", route="generated", verdict="wrong")["data"]
    detail = finished.get(f"/rationales/{first['id']}")
    assert detail["prompt"].endswith(f"Input:\n{detail['example']['question']}\nTarget:")
    assert (detail["hint"], detail["training_row"], detail["reason"]) == (None, None, "wrong")
    assert detail["trained_in"] == []


def test_rationales_are_found_by_what_they_say(finished: Finished) -> None:
    everything = finished.get("/rationales", limit=1000)["data"]
    said = everything[0]["text"][-6:]
    expected = [item for item in everything if said in item["text"] and item["iteration"] == 1]
    assert finished.all("/rationales", limit=1, text=said, iteration=1) == expected
    assert finished.get("/rationales", text="nobody wrote this")["data"] == []
    assert finished.get("/rationales", example="no such example")["data"] == []


def test_override_keeps_who_said_what_and_comes_too_late_for_a_finished_job(finished: Finished) -> None:
    [first, *_] = finished.get("/rationales", verdict="correct", iteration=1)["data"]
    path = f"{finished.url}/rationales/{first['id']}/override"
    made = [
        finished.client.post(path, json={"verdict": verdict, "reason": "lucky"})
        for verdict in ("wrong", "correct")
    ]
    assert [answer.status_code for answer in made] == [201, 201]
    shown = finished.get(f"/rationales/{first['id']}/override")["data"]
    assert [(o["verdict"], o["reason"], o["reviewer"]) for o in shown] == [
        ("wrong", "lucky", "operator"),
        ("correct", "lucky", "operator"),
    ]
    assert made[0].json() == {**shown[0], "honoured_from": None}
    assert finished.get(f"/rationales/{first['id']}")["verdict"] == "correct"
    assert finished.client.post(path, json={"verdict": "unparsed", "reason": "x"}).status_code == 422


def test_unknown_rationale_is_404_and_a_name_that_is_none_400(finished: Finished) -> None:
    statuses = [
        finished.client.get(f"{finished.url}/rationales/{name}").status_code
        for name in ("rat_999999", "rat_", "1", "rat_1x", "rat_" + "9" * 30)
    ]
    assert statuses == [404, 400, 400, 400, 400]
    assert finished.client.get(f"{finished.url}/rationales", params={"after": "x"}).status_code == 400


def test_history_of_an_example_goes_over_all_iterations(finished: Finished) -> None:
    [first, *_] = finished.get("/rationales", route="rationalized")["data"]
    history = finished.get(f"/examples/{first['example']['id']}/history")["data"]
    assert [(t["iteration"], t["route"]) for t in history] == [
        (1, "generated"),
        (1, "rationalized"),
        (2, "generated"),
    ]
    assert finished.client.get(f"{finished.url}/examples/row-99/history").status_code == 404


def test_training_set_has_the_sha256_that_its_iteration_names(finished: Finished) -> None:
    for number in (1, 2):
        answer = finished.client.get(f"{finished.url}/iterations/{number}/training-set")
        sha = finished.get(f"/iterations/{number}")["training_set_sha256"]
        assert answer.headers["content-type"] == "application/x-ndjson"
        assert sha256(answer.content).hexdigest() == sha == answer.headers["x-training-set-sha256"]
        rows = [json.loads(line) for line in answer.text.splitlines()]
        kept = finished.get("/rationales", iteration=number, decision="kept", limit=1000)["data"]
        assert sorted((r["example_id"], r["route"]) for r in rows) == sorted(
            (item["example"]["id"], item["route"]) for item in kept
        )
    assert finished.client.get(f"{finished.url}/iterations/0/training-set").status_code == 409


def test_pairs_are_what_was_kept_beside_the_wrong_tries_at_the_same_question(finished: Finished) -> None:
    def lines(path: str, **params: str) -> list[dict[str, Any]]:
        answer = finished.client.get(f"{finished.url}/iterations/1/{path}", params=params)
        return [json.loads(line) for line in answer.text.splitlines()]

    kept = {row["example_id"]: row for row in lines("training-set")}
    tries = finished.all("/rationales", 50, iteration=1, route="generated", verdict="wrong")
    wrong = [one for one in tries if one["example"]["id"] in kept and one["finish_reason"] == "stop"]
    assert wrong
    expected = {
        (row["prompt"], row["completion"], "\n" + one["text"])
        for one in wrong
        for row in [kept[one["example"]["id"]]]
    }
    pairs = lines("pairs")
    assert {(row["prompt"], row["chosen"], row["rejected"]) for row in pairs} == expected
    assert len(pairs) == len(expected)
    labelled = lines("pairs", shape="kto")
    assert [row["completion"] for row in labelled if row["label"]] == [
        row["completion"] for row in kept.values()
    ]
    assert sum(not row["label"] for row in labelled) == len(wrong)
    assert finished.client.get(f"{finished.url}/iterations/0/pairs").status_code == 409


def test_adapter_lists_its_four_files_with_size_and_sha256(finished: Finished) -> None:
    first, second = finished.get("/adapters")["data"]
    assert (first["iteration"], second["iteration"]) == (1, 2)
    assert finished.client.get(f"/v1/adapters/{first['id']}").json() == first
    assert sorted(file["path"] for file in first["files"]) == LAYOUT
    assert first["verification"] is not None
    for file in first["files"]:
        content = finished.client.get(file["url"]).content
        assert (len(content), sha256(content).hexdigest()) == (file["size_bytes"], file["sha256"])


def test_another_projects_adapter_is_404(finished: Finished) -> None:
    adapter = finished.get("/adapters")["data"][0]
    for path in ("", "/archive", f"/files/{LAYOUT[0]}"):
        answer = finished.client.get(f"/v1/adapters/{adapter['id']}{path}", headers=finished.api.other)
        assert answer.status_code == 404, path


def test_no_name_reaches_a_file_that_is_not_the_adapters(finished: Finished) -> None:
    files = f"/v1/adapters/{finished.get('/adapters')['data'][0]['id']}/files"
    for name in ("missing", "..%2f..%2fapi-key", "%2e%2e/star.db", "README.md/", "/etc/passwd"):
        answer = finished.client.get(f"{files}/{name}")
        assert answer.status_code == 404, name
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.fixture
def weights(finished: Finished) -> tuple[str, bytes, str]:
    """URL, bytes and ETag of the weights."""
    files = finished.get("/adapters")["data"][0]["files"]
    [file] = [file for file in files if file["path"] == "adapter_model.safetensors"]
    answer = finished.client.get(file["url"])
    assert answer.status_code == 200
    assert answer.headers["etag"] == f'"sha256-{file["sha256"]}"'
    assert answer.headers["accept-ranges"] == "bytes"
    assert int(answer.headers["content-length"]) == len(answer.content)
    return file["url"], answer.content, answer.headers["etag"]


def test_range_is_answered_with_exactly_its_bytes(
    finished: Finished, weights: tuple[str, bytes, str]
) -> None:
    url, content, _ = weights
    size = len(content)
    for asked, start, stop in (
        ("bytes=0-0", 0, 1),
        ("bytes=3-9", 3, 10),
        (f"bytes=5-{size + 99}", 5, size),
        ("bytes=7-", 7, size),
        ("bytes=-4", size - 4, size),
        (f"bytes=-{size + 99}", 0, size),
    ):
        answer = finished.client.get(url, headers={"Range": asked})
        assert answer.status_code == 206, asked
        assert answer.content == content[start:stop], asked
        assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
        assert int(answer.headers["content-length"]) == stop - start


def test_range_without_a_byte_of_the_file_is_416(finished: Finished, weights: tuple[str, bytes, str]) -> None:
    url, content, _ = weights
    for asked in (f"bytes={len(content)}-", "bytes=-0"):
        answer = finished.client.get(url, headers={"Range": asked})
        assert (answer.status_code, answer.json()["code"]) == (416, "range_not_satisfiable")
        assert answer.headers["content-range"] == f"bytes */{len(content)}"


def test_what_is_not_one_range_is_answered_with_the_whole(
    finished: Finished, weights: tuple[str, bytes, str]
) -> None:
    url, content, _ = weights
    for asked in ("bytes=0-1,3-4", "bytes=9-3", "bytes=-", "lines=0-1", "bytes=a-b", "bytes=0-" + "9" * 40):
        answer = finished.client.get(url, headers={"Range": asked})
        assert (answer.status_code, answer.content) == (200, content), asked


def test_download_resumes_only_the_version_that_it_began(
    finished: Finished, weights: tuple[str, bytes, str]
) -> None:
    url, content, etag = weights
    same = finished.client.get(url, headers={"Range": "bytes=4-", "If-Range": etag})
    other = finished.client.get(url, headers={"Range": "bytes=4-", "If-Range": '"sha256-0"'})
    assert (same.status_code, same.content) == (206, content[4:])
    assert (other.status_code, other.content) == (200, content)


def test_file_that_the_client_has_is_304(finished: Finished, weights: tuple[str, bytes, str]) -> None:
    url, _, etag = weights
    for seen in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        answer = finished.client.get(url, headers={"If-None-Match": seen})
        assert (answer.status_code, answer.content) == (304, b"")
    assert finished.client.get(url, headers={"If-None-Match": '"other"'}).status_code == 200


def test_archive_holds_exactly_the_files_and_is_the_same_every_time(finished: Finished) -> None:
    adapter = finished.get("/adapters")["data"][0]
    answer = finished.client.get(f"/v1/adapters/{adapter['id']}/archive")
    assert answer.headers["content-type"] == "application/x-tar"
    assert int(answer.headers["content-length"]) == len(answer.content)
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        members = archive.getmembers()
        files = {member.name: archive.extractfile(member) for member in members}
        hashes = {name: sha256(file.read()).hexdigest() for name, file in files.items() if file is not None}
    assert [member.name for member in members] == LAYOUT
    assert hashes == {file["path"]: file["sha256"] for file in adapter["files"]}
    assert finished.client.get(f"/v1/adapters/{adapter['id']}/archive").content == answer.content


def test_artifact_that_has_gone_missing_is_an_error_and_not_a_torn_file(finished: Finished) -> None:
    adapter = finished.get("/adapters")["data"][1]
    sha = adapter["files"][0]["sha256"]
    stored = Path(finished.api.settings.resolved_storage_url()) / "sha256" / sha[:2] / sha[2:]
    hidden = stored.with_name("hidden")
    stored.rename(hidden)
    try:
        for url in (adapter["files"][0]["url"], f"/v1/adapters/{adapter['id']}/archive"):
            answer = finished.client.get(url)
            assert (answer.status_code, answer.json()["code"]) == (410, "bytes_gone")
            assert str(stored.parent) not in answer.text
    finally:
        hidden.rename(stored)


def parquet_rows(content: bytes) -> list[dict[str, Any]]:
    return list(parquet.read_table(io.BytesIO(content)).to_pylist())


def test_training_set_as_parquet_holds_the_same_rows(finished: Finished) -> None:
    path = f"{finished.url}/iterations/1/training-set"
    lines = [json.loads(line) for line in finished.client.get(path).text.splitlines()]
    answer = finished.client.get(path, params={"format": "parquet"})
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"
    assert answer.headers["content-disposition"].endswith('-iteration-1.parquet"')
    assert answer.headers["x-training-set-sha256"] == finished.get("/iterations/1")["training_set_sha256"]
    rows = parquet_rows(answer.content)
    assert [{name: value for name, value in row.items() if value is not None} for row in rows] == lines


def never_solved(finished: Finished) -> list[str]:
    tries = finished.get("/rationales", route="generated", limit=1000)["data"]
    solved = {t["example"]["id"] for t in tries if t["verdict"] == "correct"}
    tried = dict.fromkeys(t["example"]["id"] for t in tries)
    return [name for name in tried if name not in solved]


def test_never_solved_examples_come_as_jsonl_and_as_parquet(finished: Finished) -> None:
    path = f"{finished.url}/never-solved"
    lines = [json.loads(line) for line in finished.client.get(path).text.splitlines()]
    rows = parquet_rows(finished.client.get(path, params={"format": "parquet"}).content)
    assert sorted(line["id"] for line in lines) == sorted(never_solved(finished))
    assert [{name: value for name, value in row.items() if value is not None} for row in rows] == lines


def test_job_that_solved_everything_leaves_no_dataset_to_make(finished: Finished) -> None:
    answer = finished.client.post(f"{finished.url}/never-solved/dataset", json={})
    if never_solved(finished):
        assert answer.json()["derived_from"]["job"] == finished.job["id"]
    else:
        assert (answer.status_code, answer.json()["code"]) == (409, "nothing_unsolved")


def test_the_curve_has_every_optimizer_step_as_json_and_csv(finished: Finished) -> None:
    training = finished.get("/iterations/1")["metrics"]["training"]
    curve = finished.get("/iterations/1/curve")
    assert [one["step"] for one in curve["steps"]] == list(range(1, training["steps"] + 1))
    last = curve["steps"][-1]
    assert (last["loss"], last["tokens"]) == (training["loss_last"], training["tokens"])
    assert sum(one["step_tokens"] for one in curve["steps"]) == training["tokens"]
    assert (last["grad_norm"], last["learning_rate"]) == (pytest.approx(2 * last["loss"], abs=1e-5), 1e-4)
    answer = finished.client.get(finished.url + "/iterations/1/curve", params={"format": "csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    header, *rows = answer.text.splitlines()
    assert header == "step,loss,grad_norm,learning_rate,tokens,step_tokens"
    assert len(rows) == training["steps"]
    assert finished.get("/iterations/0/curve")["steps"] == []
