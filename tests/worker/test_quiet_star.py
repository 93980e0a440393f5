"""Jobs on documents through HTTP: a real model thinks between tokens, in a real GPU process."""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.database import transaction
from app.ledger.queue.capacity import Capacity, saw_worker
from app.ledger.queue.steps import claim_step
from app.storage import Storage
from tests.app.api_harness import Api, serve, worker
from tests.app.dashboard.conftest import sign_in
from worker.checkpoints import Checkpoints
from worker.context import WorkerContext
from worker.gpu.process import GpuDied
from worker.shared_calls import work_on

MODEL = Path(__file__).parents[2] / "examples" / "addition" / "model"
METHOD: dict[str, Any] = {
    "window": 24, "thought_tokens": 2, "ahead_tokens": 2, "batch_windows": 2, "micro_batch": 2, "steps": 4,
    "checkpoint_every": 2, "warmup_steps": 1, "held_out_windows": 4, "shown_thoughts": 6,
    "zero_shot_questions": 3, "lora": {"rank": 2, "alpha": 4},
}  # fmt: skip
QUIET_FILES = {
    "adapter_config.json", "adapter_model.safetensors", "thought_head.safetensors", "quiet_star.json",
    "README.md", "manifest.json",
}  # fmt: skip


def sums(count: int, seed: int = 0) -> list[tuple[str, str]]:
    rng = random.Random(seed)
    pairs = [(rng.randrange(10, 99), rng.randrange(10, 99)) for _ in range(count)]
    return [(f"{' '.join(str(a))} + {' '.join(str(b))}", " ".join(str(a + b))) for a, b in pairs]


def lines(rows: list[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def documents() -> str:
    found = sums(40)
    return lines([{"text": f"Input:\n{one}\nTarget:\n{answer}\n"} for one, answer in found])


ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # the first test: on both


@pytest.fixture
def api(database_url: str, tmp_path: Path) -> Iterator[Api]:
    models = tmp_path / "models.yaml"
    models.write_text(yaml.safe_dump([{"id": "tiny", "location": str(MODEL), "license": "mit"}]))
    with serve(database_url, tmp_path / "home", models_file=models, sampler="transformers", threads=1) as api:
        yield api


@pytest.fixture
def work_off(api: Api) -> Iterator[Callable[[], None]]:
    with worker(api) as done:
        yield done


def body(api: Api, dataset: str | None = None, **changes: Any) -> dict[str, Any]:
    config = {"quiet_star": METHOD, **changes.pop("config", {})}
    if dataset is None:
        dataset = api.dataset(documents(), kind="documents", validation=10)["id"]
    return {"model": "tiny", "dataset": dataset, "preset": "quiet-star", "config": config, **changes}


def created(api: Api, sent: dict[str, Any]) -> dict[str, Any]:
    answer = api.client.post("/v1/jobs", json=sent)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def got(api: Api, path: str, status: int = 200) -> Any:
    answer = api.client.get(path)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_a_job_trains_verifies_measures_and_publishes_an_adapter_that_thinks(
    api: Api, work_off: Callable[[], None]
) -> None:
    rows = [{"question": q, "answer": a, "split": "validation"} for q, a in sums(5, 1)]
    asked = api.dataset(lines([{"question": "1 + 1", "answer": "2"}, *rows]), kind="scratchpad", validation=0)
    sent = body(api, config={"iterations": 2, "evaluation": {"also": [asked["id"]]}})
    job = created(api, sent)
    work_off()
    job = got(api, f"/v1/jobs/{job['id']}")
    assert (job["status"], job["stop_reason"]) == ("succeeded", "completed_iterations"), job["status_reason"]
    iterations = got(api, f"/v1/jobs/{job['id']}/iterations")["data"]
    assert [one["number"] for one in iterations] == [1, 2]
    for one in iterations:
        assert one["phases_done"] == ["train", "verify_adapter", "evaluate"]
        thinking = one["metrics"]["thinking"]
        assert thinking["windows"] == 4
        assert len(thinking["by_tokens_ahead"]) == 2
        assert len(thinking["by_difficulty"]) == 5
        assert thinking["gain"] == pytest.approx(thinking["nll_without"] - thinking["nll_with"], abs=2e-6)
        zero_shot = thinking["zero_shot"][asked["id"]]
        assert zero_shot["n"] == 3
        assert 0 < zero_shot["gold_probability"]["with"] < 1
        written = zero_shot["generated"]
        assert written["n"] == 3
        assert all(0 <= written[name] <= 1 for name in ("with", "without"))
        for mode in ("adapter", "adapter_without_thoughts"):
            query = f"iteration={one['number']}&dataset={asked['id']}&mode={mode}"
            assert len(got(api, f"/v1/jobs/{job['id']}/answers?{query}")["data"]) == 3
    first, second = (one["metrics"]["training"] for one in iterations)
    assert (first["started_from"], second["started_from"]) == ("base", "the iteration before")
    assert first["checkpointed"] is False
    adapters = got(api, f"/v1/jobs/{job['id']}/adapters")["data"]
    assert [(one["iteration"], one["role"]) for one in adapters] == [(1, "quiet"), (2, "quiet")]
    assert iterations[0]["adapter_id"] == adapters[0]["id"]
    assert {file["path"] for file in adapters[1]["files"]} == QUIET_FILES
    assert adapters[1]["verification"]["parallel_difference"] < 1e-4
    card = api.client.get(f"/v1/adapters/{adapters[1]['id']}/files/README.md").text
    assert "nats a token with thoughts" in card
    assert "not measured" not in card
    for file in adapters[1]["files"]:
        assert api.client.get(file["url"]).status_code == 200
    assert got(api, f"/v1/jobs/{job['id']}/iterations/1")["metrics"]["seconds"].keys() == {
        "train", "verify_adapter", "evaluate",
    }  # fmt: skip


@ON_SQLITE
def test_thoughts_are_read_by_page_as_a_file_and_on_pages_and_no_server_of_models_has_them(
    api: Api, work_off: Callable[[], None]
) -> None:
    job = created(api, body(api, baselines=["pauses", "continued-training"]))
    work_off()
    base = f"/v1/jobs/{job['id']}"
    assert [one["preset"] for one in got(api, base)["baselines"]] == ["pauses", "continued-training"]
    first = got(api, f"{base}/thoughts?limit=4")
    rest = got(api, f"{base}/thoughts?limit=4&after={first['last_id']}")
    found = [*first["data"], *rest["data"]]
    assert [one["drawn"] for one in found] == [False] * 3 + [True] * 3
    assert found[0]["gain"] == max(one["gain"] for one in found)
    assert len(got(api, f"{base}/thoughts?drawn=true&iteration=1")["data"]) == 3
    told = api.client.get(f"{base}/iterations/1/thoughts").text.splitlines()
    assert [json.loads(line)["token"] for line in told] == [one["token"] for one in found]
    packed = api.client.get(f"{base}/iterations/1/thoughts", params={"format": "parquet"})
    assert packed.content.startswith(b"PAR1")
    report = got(api, f"{base}/report")
    assert "nats with thoughts" in report["answer"]["sentence"]
    assert "continued training" in report["answer"]["sentence"]
    assert "Quiet-STaR" in api.client.get(f"{base}/report", headers={"Accept": "text/markdown"}).text
    [adapter] = got(api, f"{base}/adapters")["data"]
    visitor = sign_in(api, api.admin)
    for path in ("", "/thoughts", "/results", "/now", "/iterations/1/curve", "/adapters"):
        shown = visitor.get(f"/jobs/{job['id']}{path}")
        assert shown.status_code == 200, (path, shown.text[-2000:])
    assert "drawn evenly" in visitor.get(f"/jobs/{job['id']}/thoughts", drawn="true").text
    assert "Thoughts before a token" in visitor.get(f"/jobs/{job['id']}/thoughts").text
    for path in (f"/adapters/{adapter['id']}", f"/jobs/new?like={job['id']}", f"/jobs/{job['id']}/fork"):
        assert visitor.get(path).status_code == 200, path
    refused = api.client.post("/v1/completions", json={"model": adapter["id"], "prompt": "1 + 1"})
    assert 400 <= refused.status_code < 500, refused.text
    assert "thinks between tokens" in refused.text
    assert "thinks between tokens" in got(api, f"/v1/adapters/{adapter['id']}/receipt", 409)["detail"]


@ON_SQLITE
def test_a_training_that_was_killed_ends_in_the_same_bytes_on_another_machine(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = api.dataset(documents(), kind="documents", validation=10)["id"]
    with worker(api) as work_off:
        whole = created(api, body(api, dataset))
        work_off()
    cut = created(api, body(api, dataset))
    keep, kept = Checkpoints.keep, list[int]()

    def keep_and_die(self: Checkpoints, step: int) -> None:
        keep(self, step)
        if step == METHOD["checkpoint_every"]:
            kept.append(step)
            gpu = self._worker.gpu(self._claim.model_id, 16)
            os.killpg(gpu.pid, signal.SIGKILL)
            raise GpuDied(-signal.SIGKILL, gpu.log_tail())  # as its next message would; it may have sent all

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, "keep", keep_and_die)
        with machine(api, tmp_path / "first") as first:
            claim = claim_step(api.engine, first.worker_id, 60)
            assert claim is not None
            work_on(first, claim)
    with machine(api, tmp_path / "second") as second:
        again = claim_step(api.engine, second.worker_id, 60)
        assert again is not None
        assert (again.step_id, again.attempt) == (claim.step_id, 2)
        work_on(second, again)
        while (following := claim_step(api.engine, second.worker_id, 60)) is not None:
            work_on(second, following)
    assert kept == [2]
    one, other = (weights(api, job["id"]) for job in (whole, cut))
    assert one == other
    assert one.keys() == {"adapter_model.safetensors", "thought_head.safetensors"}
    curve = got(api, f"/v1/jobs/{cut['id']}/iterations/1/curve")["steps"]
    assert [step["step"] for step in curve] == [1, 2, 3, 4]


def weights(api: Api, job_id: str) -> dict[str, str]:
    [adapter] = got(api, f"/v1/jobs/{job_id}/adapters")["data"]
    return {
        file["path"]: file["sha256"] for file in adapter["files"] if file["path"].endswith(".safetensors")
    }


@contextmanager
def machine(api: Api, home: Path) -> Iterator[WorkerContext]:
    """A worker with a folder of its own: nothing of another one's disk is there."""
    storage = Storage(api.settings.resolved_storage_url())
    settings = api.settings.model_copy(update={"home": home})
    bench = WorkerContext(api.engine, storage, settings, f"{home.name}:1", draining=lambda: False)
    try:
        yield bench
    finally:
        bench.drop_gpu()


@ON_SQLITE
def test_a_fork_goes_on_from_an_iteration_and_a_curriculum_changes_what_it_thinks(
    api: Api, work_off: Callable[[], None]
) -> None:
    job = created(api, body(api))
    work_off()
    stages = [{"from_iteration": 2, "thoughts": "off", "steps": 2}]
    changes = {"iterations": 2, "quiet_star": {"curriculum": stages}}
    answer = api.client.post(f"/v1/jobs/{job['id']}/fork", json={"from_iteration": 1, "config": changes})
    assert answer.status_code == 201, answer.text
    work_off()
    fork = got(api, f"/v1/jobs/{answer.json()['id']}")
    assert fork["status"] == "succeeded", fork["status_reason"]
    first, second = got(api, f"/v1/jobs/{fork['id']}/iterations")["data"]
    assert (
        first["metrics"]["thinking"] == got(api, f"/v1/jobs/{job['id']}/iterations/1")["metrics"]["thinking"]
    )
    assert (second["metrics"]["training"]["thoughts"], second["metrics"]["training"]["steps"]) == ("off", 2)
    assert second["metrics"]["thinking"]["gain"] == pytest.approx(0, abs=1e-5)
    assert len(got(api, f"/v1/jobs/{fork['id']}/thoughts?iteration=1")["data"]) == 6
    assert api.client.delete(f"/v1/jobs/{fork['id']}").status_code in (200, 204)
    got(api, f"/v1/jobs/{fork['id']}", 404)


@ON_SQLITE
def test_a_job_that_is_paused_hands_its_training_back_and_goes_on(
    api: Api, work_off: Callable[[], None]
) -> None:
    job = created(api, body(api, budget={"gpu_seconds": 3600}))
    assert api.client.post(f"/v1/jobs/{job['id']}/pause").status_code == 202
    work_off()
    assert got(api, f"/v1/jobs/{job['id']}")["status"] == "paused"
    assert api.client.post(f"/v1/jobs/{job['id']}/resume").status_code == 202
    work_off()
    assert got(api, f"/v1/jobs/{job['id']}")["status"] == "succeeded"
    assert got(api, f"/v1/jobs/{job['id']}")["budget"]["gpu_seconds_used"] > 0
    cancelled = created(api, body(api, config={"seed": 5}))
    assert api.client.post(f"/v1/jobs/{cancelled['id']}/cancel").status_code == 202
    assert got(api, f"/v1/jobs/{cancelled['id']}")["status"] == "cancelled"


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"quiet_star": {"window": 2000}}, "config.quiet_star.window", "tiny has"),
        ({"quiet_star": {"rationales": 1}}, "config.quiet_star", "give 2 or more"),
        ({"generation": {"temperature": 1.0}}, "config", "leave out generation"),
        ({"quiet_star": {"lora": {"rank": 128}}}, "config.quiet_star.lora.rank", "rank 128"),
        ({"evaluation": {"also": ["ds_none"]}}, "config.evaluation.also", "ds_none"),
        (
            {"evaluation": {"without_thoughts": True}},
            "config.evaluation.without_thoughts",
            "/evaluate measures such an adapter both ways",
        ),
        (
            {"quiet_star": {"curriculum": [{"from_iteration": 2, "ahead_tokens": 16}]}, "iterations": 2},
            "",
            "longer",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_the_setting_at_fault(
    api: Api, changes: dict[str, Any], field: str, reason: str
) -> None:
    sent = body(api)
    merged = {**METHOD, **changes.get("quiet_star", {}), **({"window": 8} if "iterations" in changes else {})}
    merged |= {"window": changes["quiet_star"]["window"]} if "window" in changes.get("quiet_star", {}) else {}
    sent["config"] = {**changes, "quiet_star": merged}
    refused = api.client.post("/v1/jobs", json=sent)
    assert refused.status_code == 422, refused.text
    assert any(error["field"].startswith(field) for error in refused.json()["errors"])
    assert reason in refused.text


def test_documents_need_their_preset_a_held_out_split_and_memory_that_is_there(api: Api) -> None:
    sent = body(api)
    refused = api.client.post("/v1/jobs", json={**sent, "preset": "star", "config": {}})
    assert (refused.status_code, refused.json()["code"]) == (422, "needs_documents_preset")
    refused = api.client.post("/v1/jobs", json={**sent, "preset": "rft"})
    assert "no preset for documents" in refused.text
    refused = api.client.post("/v1/jobs", json={**sent, "baselines": ["star-without-rationalization"]})
    assert refused.json()["code"] == "unknown_baseline"
    questions = api.dataset(lines([{"question": q, "answer": a} for q, a in sums(8)]), kind="scratchpad")
    refused = api.client.post("/v1/jobs", json={**sent, "dataset": questions["id"]})
    assert refused.status_code == 422
    whole = api.dataset(documents(), kind="documents", validation=0)["id"]
    refused = api.client.post("/v1/jobs", json={**sent, "dataset": whole})
    assert refused.json()["code"] == "no_held_out_split"
    with transaction(api.engine) as session:
        saw_worker(session, "small:1", Capacity(gpu_memory_gib=0.001))
    refused = api.client.post("/v1/jobs", json=sent)
    assert (refused.status_code, refused.json()["code"]) == (422, "not_enough_memory")
    assert "GiB" in refused.text


def test_a_dry_run_says_what_a_step_takes(api: Api) -> None:
    answer = api.client.post("/v1/jobs", json={**body(api), "dry_run": True})
    assert answer.status_code == 200, answer.text
    work = answer.json()["work"]
    assert work["steps"] == [4]
    assert work["memory_gib"] > work["checkpointed_memory_gib"] > 0
    assert work["step_tokens"] == 2 * 24 * 2 * 6  # windows x tokens x thoughts at each position x passes
    assert api.client.get("/v1/presets", params={"kind": "documents"}).json()["data"][0]["id"] == "quiet-star"
