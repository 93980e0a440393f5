"""Datasets of conversations: the last question is asked behind the turns before it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.app.api_harness import MODEL, Api, worker
from tests.app.chat.chat_server import serve_chat

CONFIG = {
    "iterations": 1,
    "generation": {"max_tokens": 200},
    "training": {"schedule": {"kind": "linear", "start": 2, "add": 0}, "max_length": 4000},
    "audits": {"spark_level": None},
}
NOTED = "I see."
SHOWN = {"question": "Tom has 1 cup and gets 1. How many has he?", "answer": "2"}
SHOWN["rationale"] = "He has 1 cup and gets 1 more, so 1 + 1 = 2. The answer is 2."


def _row(a: int, b: int, **more: Any) -> dict[str, Any]:
    turns = [
        ("user", f"Ann has {a} pens."),
        ("assistant", NOTED),
        ("user", f"She buys {b}. How many has she?"),
    ]
    return {"messages": [{"role": r, "content": text} for r, text in turns], "answer": a + b, **more}


def _rows() -> list[dict[str, Any]]:
    held_out = [_row(a, 2, split="validation") for a in range(60, 64)]
    return [_row(a, b) for a in range(10, 14) for b in (1, 5)] + held_out


def _upload(api: Api, rows: list[dict[str, Any]], **query: Any) -> dict[str, Any]:
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    return api.dataset(lines, kind="numeric", validation=0, **query)


def _body(api: Api, rows: list[dict[str, Any]] | None = None, **changes: Any) -> dict[str, Any]:
    shown = api.prompt_set(kind="numeric", examples=[SHOWN])
    config = {**CONFIG, **changes.pop("config", {})}
    dataset = _upload(api, rows or _rows())["id"]
    return {"model": MODEL, "dataset": dataset, "prompt_set": shown["id"], "config": config, **changes}


@pytest.fixture
def chat_api(sqlite_database_url: str, tmp_path: Path) -> Iterator[Api]:
    with serve_chat(sqlite_database_url, tmp_path / "home", script="tests.chat_pupil:follower") as api:
        yield api


@pytest.fixture
def done(sqlite_database_url: str, tmp_path: Path) -> Iterator[tuple[Api, dict[str, Any]]]:
    script = "tests.chat_pupil:follower"
    with serve_chat(sqlite_database_url, tmp_path / "home", script=script) as api, worker(api) as work_off:
        job = api.client.post("/v1/jobs", json=_body(api)).json()
        work_off()
        found = api.client.get(f"/v1/jobs/{job['id']}").json()
        assert found["status"] == "succeeded", found
        yield api, found


def test_a_job_on_conversations_trains_on_the_last_answer(done: tuple[Api, dict[str, Any]]) -> None:
    api, job = done
    url = f"/v1/jobs/{job['id']}"
    rows = [json.loads(line) for line in api.client.get(f"{url}/iterations/1/training-set").text.splitlines()]
    assert {(row["route"], row["completion"].count("answer is")) for row in rows} == {
        ("generated", 1),
        ("rationalized", 1),
    }
    for row in rows:
        assert "pens.<|im_end|>\n<|im_start|>assistant\n" in row["prompt"]
        assert f"{NOTED}<|im_end|>\n<|im_start|>user\nShe buys " in row["prompt"]
        assert NOTED not in row["completion"]
    assert api.client.get(f"{url}/iterations/1").json()["metrics"]["accuracy"] == 1.0


def test_a_training_set_of_conversations_is_downloaded_with_their_turns(
    done: tuple[Api, dict[str, Any]],
) -> None:
    api, job = done
    url = f"/v1/jobs/{job['id']}/iterations/1/training-set"
    found = [
        json.loads(line) for line in api.client.get(url, params={"format": "messages"}).text.splitlines()
    ]
    assert found
    for one in found:
        assert [turn["role"] for turn in one["messages"]] == ["user", "assistant", "user", "assistant"]
        assert one["messages"][1] == {"role": "assistant", "content": NOTED, "weight": 0}
        assert one["as_trained"] is True


def test_texts_come_with_the_turns_before_a_question(done: tuple[Api, dict[str, Any]]) -> None:
    api, job = done
    example = api.client.get(f"/v1/jobs/{job['id']}/rationales", params={"limit": 1}).json()["data"][0][
        "example"
    ]
    assert example["context"] == [
        {"role": "user", "content": example["context"][0]["content"]},
        {"role": "assistant", "content": NOTED},
    ]
    answers = api.client.get(f"/v1/jobs/{job['id']}/answers", params={"limit": 1}).json()
    assert answers["data"][0]["example"]["context"][1]["content"] == NOTED


def test_what_was_never_solved_can_be_uploaded_again(done: tuple[Api, dict[str, Any]]) -> None:
    api, job = done
    for format_ in ("jsonl", "parquet"):
        answer = api.client.get(f"/v1/jobs/{job['id']}/never-solved", params={"format": format_})
        query: dict[str, str | int] = {"kind": "numeric", "validation": 1, "name": format_}
        again = api.client.post("/v1/datasets", params=query, content=answer.content)
        assert again.status_code == 201, again.text
        shown = api.client.get(f"/v1/datasets/{again.json()['id']}/examples").json()["data"]
        assert len(shown) == 4
        assert all(one["context"][1]["content"] == NOTED for one in shown)


def test_a_dataset_of_what_was_never_solved_keeps_the_turns(done: tuple[Api, dict[str, Any]]) -> None:
    api, job = done
    made = api.client.post(f"/v1/jobs/{job['id']}/never-solved/dataset").json()
    shown = api.client.get(f"/v1/datasets/{made['id']}/examples").json()["data"]
    assert all(one["context"][1]["content"] == NOTED for one in shown)
    plain = {**_body(api), "dataset": made["id"], "config": {**CONFIG, "layout": "completion"}}
    assert api.client.post("/v1/jobs", json=plain).json()["code"] == "needs_chat_layout"


def test_the_completion_layout_refuses_conversations(chat_api: Api) -> None:
    body = _body(chat_api, config={"layout": "completion"})
    refused = chat_api.client.post("/v1/jobs", json=body).json()
    assert (refused["code"], refused["errors"][0]["field"]) == ("needs_chat_layout", "dataset")
    assert "layout chat" in refused["errors"][0]["fix"]


def test_conversations_that_end_alike_ask_different_things(chat_api: Api) -> None:
    rows = [_row(10, 1), _row(11, 1), _row(12, 1, split="validation")]
    assert _upload(chat_api, rows)["statistics"]["overlap"]["exact"]["examples"] == 0


def test_a_conversation_on_both_sides_is_refused(chat_api: Api) -> None:
    lines = "".join(f"{json.dumps(row)}\n" for row in [_row(10, 1), _row(10, 1, split="validation")])
    refused = chat_api.client.post("/v1/datasets", params={"kind": "numeric"}, content=lines)
    assert refused.status_code == 422
    assert "trains on the same question" in refused.text


def test_a_dry_run_and_a_preview_show_the_turns_and_count_them(chat_api: Api) -> None:
    body = _body(chat_api, dry_run=True)
    shown = chat_api.client.post("/v1/jobs", json=body).json()["preview"][0]
    assert f"{NOTED}<|im_end|>\n<|im_start|>user\nShe buys " in shown["prompt"]["text"]
    assert f"{NOTED} (" not in shown["hinted_prompt"]["text"]
    assert "How many has she? (" in shown["hinted_prompt"]["text"]
    url = f"/v1/prompt-sets/{body['prompt_set']}/preview"
    named = {"dataset": body["dataset"], "example_id": "row-1"}
    preview = chat_api.client.post(url, json={**named, "model": MODEL}).json()
    assert f"{NOTED}<|im_end|>\n<|im_start|>user\nShe buys 1. " in preview["prompt"]
    assert chat_api.client.post(url, json=named).json()["code"] == "needs_chat_layout"


def test_a_conversation_that_is_too_long_is_refused_by_its_tokens(chat_api: Api) -> None:
    """Each row fits by its question alone."""
    long = _row(10, 1)
    long["messages"][1]["content"] = "Well. " * 1000
    refused = chat_api.client.post("/v1/jobs", json=_body(chat_api, [*_rows(), long])).json()
    assert refused["code"] == "prompt_too_long"
    assert "'row-13'" in refused["errors"][0]["reason"]
