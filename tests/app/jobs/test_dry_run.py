"""POST /v1/jobs with dry_run: the job is shown, nothing is made."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import event, func, select

from app.database import reading, transaction
from app.ledger.queue.capacity import saw_worker
from app.tables.data import Example
from app.tables.jobs import IdempotencyKey, Job
from tests.app.api_harness import MODEL, Api, addition_rows, serve, worker


def test_dry_run_shows_the_resolved_job_and_makes_nothing(api: Api) -> None:
    body = api.job_body(dry_run=True, name="try", budget={"gpu_seconds": 5})
    answer = api.client.post("/v1/jobs", json=body, headers={"Idempotency-Key": "dry"})
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert (shown["object"], shown["name"], shown["model"]) == ("job_dry_run", "try", MODEL)
    assert shown["config"] == api.job()["config"]
    assert shown["budget"] == {"gpu_seconds": 5.0, "deadline": None}
    assert "location" not in answer.headers
    with reading(api.engine) as session:
        assert session.scalar(select(func.count()).select_from(Job)) == 1
        assert session.scalar(select(func.count()).select_from(IdempotencyKey)) == 0


def test_preview_holds_the_first_prompts_with_their_tokens(api: Api) -> None:
    preview = api.client.post("/v1/jobs", json=api.job_body(dry_run=True)).json()["preview"]
    assert len(preview) == 3
    assert "6 2 + 2 5" in preview[1]["prompt"]["text"]  # the few-shot example of its group
    for shown in preview:
        assert shown["prompt"]["tokens"] == len(shown["prompt"]["text"])  # its tokens are characters
        assert shown["hinted_prompt"]["text"] != shown["prompt"]["text"]
    plain = api.job_body(dry_run=True, preset="star-without-rationalization")
    assert api.client.post("/v1/jobs", json=plain).json()["preview"][0]["hinted_prompt"] is None


def test_a_dry_run_does_not_read_the_rows_of_a_dataset_whose_lengths_were_counted_at_upload(
    sqlite_api: Api,
) -> None:
    """The finding: eight dry runs of 200,000 rows held up every other request for more than a second."""
    large = sqlite_api.dataset(addition_rows(2000))["id"]
    body = sqlite_api.job_body(dataset=large, dry_run=True)
    loaded = []
    event.listen(Example, "load", count := lambda *_: loaded.append(1))
    try:
        answer = sqlite_api.client.post("/v1/jobs", json=body)
    finally:
        event.remove(Example, "load", count)
    assert answer.status_code == 200, answer.text
    assert len(loaded) < 300  # those whose tokens are counted as a sample, and the preview


def test_estimate_says_why_there_is_none(api: Api) -> None:
    body = api.job_body(dry_run=True)
    estimate = api.client.post("/v1/jobs", json=body).json()["estimate"]
    assert (estimate["gpu_seconds"], estimate["seconds"], estimate["queue_seconds"]) == (None, None, None)
    assert {name: one["code"] for name, one in estimate["unavailable"].items()} == {
        "gpu_seconds": "no_history",
        "seconds": "no_history",
        "queue_seconds": "no_worker",
        "cost": "no_history",
    }
    with transaction(api.engine) as session:
        saw_worker(session, "worker:1")
    estimate = api.client.post("/v1/jobs", json=body).json()["estimate"]
    assert estimate["queue_seconds"] == {"low": 0.0, "expected": 0.0, "high": 0.0}


def test_warnings_name_what_the_job_may_run_into(api: Api) -> None:
    warnings = api.client.post("/v1/jobs", json=api.job_body(dry_run=True)).json()["warnings"]
    found = {one["code"]: one["message"] for one in warnings}
    assert {"few_examples", "few_held_out", "no_worker"} <= found.keys()
    assert "4 examples" in found["few_held_out"]
    assert "prompts_not_counted" not in found


def test_dry_run_of_a_bad_job_is_refused_as_the_job_would_be(api: Api) -> None:
    answer = api.client.post("/v1/jobs", json=api.job_body(dry_run=True, preset="magic"))
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_preset")


def test_the_work_is_told_without_any_history(api: Api) -> None:
    schedule = {"kind": "linear", "start": 8, "add": 4}
    config = {"iterations": 2, "training": {"schedule": schedule, "batch_tokens": 400}}
    shown = api.client.post("/v1/jobs", json=api.job_body(dry_run=True, config=config)).json()
    work = shown["work"]
    train = 8  # rows of the harness' dataset in the split train
    assert work["steps"] == [8, 12]
    assert (work["step_tokens"], work["tokens"]) == (400, 20 * 400)
    assert work["passes"] == [round(n * 400 / (train * work["row_tokens"]), 2) for n in (8, 12)]
    assert 0 < work["rough_gpu_seconds"]["low"] < work["rough_gpu_seconds"]["high"]
    assert work["tries"] >= 2 * train


def test_small_data_is_sent_to_the_preset_quick(api: Api) -> None:
    def warned(preset: str) -> dict[str, str]:
        body = api.job_body(dry_run=True, preset=preset) | {"config": {"generation": {"max_tokens": 100}}}
        shown = api.client.post("/v1/jobs", json=body).json()
        return {one["code"]: one["message"] for one in shown["warnings"]}

    assert "preset quick" in warned("star")["many_passes"]
    assert "many_passes" not in warned("quick")
    assert "hint_free" in warned("quick")["hints_unchecked"]
    assert "hints_unchecked" not in warned("star-without-rationalization")


def test_a_rate_that_is_never_reached_is_warned_of(api: Api) -> None:
    training = {"schedule": {"kind": "fixed", "steps": 5}, "warmup_steps": 6}
    body = api.job_body(dry_run=True, config={"training": training})
    codes = [one["code"] for one in api.client.post("/v1/jobs", json=body).json()["warnings"]]
    assert "warm_up_not_reached" in codes


def test_preview_shows_the_procedural_hint_that_the_job_then_puts_in(
    sqlite_database_url: str, tmp_path: Path
) -> None:
    rows = "".join(
        f'{{"question": "What is {17 + n} times {23 + n}?", "answer": "{(17 + n) * (23 + n)}"}}\n'
        for n in range(8)
    )
    shown = {"question": "What is 3 times 4?", "answer": "12", "rationale": "It is 12.\n#### 12"}
    given = {"sampler": "scripted", "sampler_script": "tests.worker.sandbox.tool_pupil:pupil"}
    with serve(sqlite_database_url, tmp_path / "home", **given) as api, worker(api) as work_off:
        body = {
            "model": MODEL,
            "dataset": api.dataset(rows, kind="numeric")["id"],
            "prompt_set": api.prompt_set(kind="numeric", examples=[shown])["id"],
            "config": {
                "iterations": 1,
                "rationalization": {"enabled": False},
                "tools": {"python": {}},
                "hints": {"groups": ["calculation", "check"], "texts": ["Own.\n```python\n"]},
                "audits": {"spark_level": None},
            },
        }
        preview = api.client.post("/v1/jobs", json={**body, "dry_run": True}).json()["preview"]
        job = api.client.post("/v1/jobs", json=body).json()
        work_off()
        texts = api.client.get(
            f"/v1/jobs/{job['id']}/rationales", params={"route": "hinted", "limit": 100}
        ).json()["data"]
    made = {one["example"]["id"]: one for one in texts}
    assert len({one["procedural_hint"]["name"] for one in preview}) > 1
    for one in preview:
        hint, text = one["procedural_hint"], made[one["example"]]
        assert text["tools"]["hint"] == hint["name"]
        assert (hint["insert"], hint["word"], hint["masked"]) == ("before_end", None, True)
        assert hint["text"] in text["text"]


def test_a_job_without_hints_previews_none(api: Api) -> None:
    preview = api.client.post("/v1/jobs", json=api.job_body(dry_run=True)).json()["preview"]
    assert [one["procedural_hint"] for one in preview] == [None] * 3
