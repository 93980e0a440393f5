"""Datasets and prompt sets: what the pages show is what the API answers, as text."""

from __future__ import annotations

import json
from html import unescape

from tests.app.api_harness import MODEL
from tests.app.dashboard.conftest import Visitor, sign_in

ROWS = [
    {"question": "What do <script>alert(1)</script> and 14 pens cost?", "answer": "42"},
    {"question": "What do 14 pens cost?", "answer": "42"},
    {"question": "What do 14 pens cost?", "answer": "43"},
    {"question": "How many legs have six cats?", "answer": "24", "split": "validation"},
]


def uploaded(visitor: Visitor, rows: str) -> str:
    """The page of a dataset of these rows."""
    dataset = visitor.api.dataset(rows, kind="numeric", name="pens", validation=0)["id"]
    return unescape(visitor.get(f"/datasets/{dataset}").text)


def as_jsonl(rows: list[dict[str, str]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_a_dataset_is_shown_with_its_statistics_and_rows(visitor: Visitor) -> None:
    dataset = visitor.api.dataset(as_jsonl(ROWS), kind="numeric", name="pens", validation=0)
    shown = visitor.get(f"/datasets/{dataset['id']}").text
    assert "<script>alert" not in shown
    for row in ROWS:
        assert row["question"] in unescape(shown)
    assert "with another answer" in shown  # the two that ask the same
    assert dataset["sha256"] in shown
    for warning in dataset["warnings"]:
        assert warning in unescape(shown)


def test_a_conversation_is_shown_with_its_earlier_turns(visitor: Visitor) -> None:
    turns = [("user", "Ann has 3 <pens>."), ("assistant", "I see."), ("user", "And 2 more?")]
    row = {"messages": [{"role": role, "content": text} for role, text in turns], "answer": "5"}
    shown = uploaded(visitor, json.dumps(row) + "\n")
    assert "user: Ann has 3 <pens>." in shown
    assert "assistant: I see." in shown
    assert "rows are conversations" in shown


def test_datasets_are_made_in_one_place(visitor: Visitor) -> None:
    page = visitor.get("/datasets").text
    assert 'href="/dashboard/datasets/new"' in page
    assert 'type="file"' not in page


def test_lengths_in_tokens_are_those_of_the_api(visitor: Visitor) -> None:
    dataset = visitor.api.dataset()["id"]
    counted = visitor.api.client.get(f"/v1/datasets/{dataset}/statistics", params={"model": MODEL}).json()
    shown = visitor.get(f"/datasets/{dataset}", model=MODEL).text
    assert f"Lengths in tokens of {MODEL}" in shown
    assert f'<td class="number">{counted["tokens"]["question"]["max"]}</td>' in shown


def test_a_preview_marks_what_is_trained_on(visitor: Visitor) -> None:
    dataset, prompt_set = visitor.api.dataset()["id"], visitor.api.prompt_set()["id"]
    page = visitor.get(f"/prompt-sets/{prompt_set}").text
    assert f'<option value="{dataset}" selected>' in page
    example = visitor.api.client.get(f"/v1/datasets/{dataset}/examples").json()["data"][0]["id"]
    wanted = {"dataset": dataset, "example_id": example, "model": MODEL}
    told = visitor.api.client.post(f"/v1/prompt-sets/{prompt_set}/preview", json=wanted).json()
    shown = visitor.post(f"/prompt-sets/{prompt_set}/preview", dataset=dataset, example=example, model=MODEL)
    text = unescape(shown.text)
    assert f"<pre>{told['prompt']}</pre>" in text
    assert f"<pre>{told['hinted_prompt']}</pre>" in text
    assert f"<mark>{told['training_row']['completion']}</mark>" in text
    assert f"{told['tokens']['trained']} of them trained on" in text


def test_another_projects_data_is_not_there(visitor: Visitor) -> None:
    stranger = sign_in(visitor.api, visitor.api.other)
    for path in (
        f"/datasets/{visitor.api.dataset()['id']}",
        f"/prompt-sets/{visitor.api.prompt_set()['id']}",
    ):
        assert visitor.get(path).status_code == 200
        assert stranger.get(path).status_code == 404


def test_a_dataset_is_archived_and_deleted_from_its_page(visitor: Visitor) -> None:
    dataset = visitor.api.dataset(as_jsonl(ROWS), kind="numeric", name="pens", validation=0)["id"]
    page = visitor.get(f"/datasets/{dataset}").text
    assert 'data-confirm="Delete the dataset pens and its examples for good?"' in page
    visitor.post(f"/datasets/{dataset}/archive")
    assert dataset not in visitor.get("/datasets").text
    assert dataset in visitor.get("/datasets", archived="true").text
    answer = visitor.post(f"/datasets/{dataset}/delete")
    assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard/datasets")
    assert visitor.get(f"/datasets/{dataset}").status_code == 404
