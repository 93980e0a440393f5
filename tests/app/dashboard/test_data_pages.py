"""Datasets and prompt sets: what the pages show is what the API answers, as text."""

from __future__ import annotations

import json
from html import unescape

from httpx2 import Response

from tests.app.api_harness import MODEL
from tests.app.dashboard.conftest import Visitor, sign_in

ROWS = [
    {"question": "What do <script>alert(1)</script> and 14 pens cost?", "answer": "42"},
    {"question": "What do 14 pens cost?", "answer": "42"},
    {"question": "What do 14 pens cost?", "answer": "43"},
    {"question": "How many legs have six cats?", "answer": "24", "split": "validation"},
]


def upload(visitor: Visitor, rows: str, **query: str) -> Response:
    return visitor.client.post(
        "/dashboard/datasets",
        params={"kind": "numeric", "name": "pens", **query},
        files={"file": ("rows.jsonl", rows)},
        headers={"x-csrf-token": visitor.token(), "hx-request": "true"},
    )


def as_jsonl(rows: list[dict[str, str]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_an_uploaded_dataset_is_shown_with_its_statistics_and_rows(visitor: Visitor) -> None:
    answer = upload(visitor, as_jsonl(ROWS))
    assert answer.status_code == 204, answer.text
    dataset = visitor.api.client.get("/v1/datasets").json()["data"][0]
    assert answer.headers["hx-redirect"] == f"/dashboard/datasets/{dataset['id']}"
    shown = visitor.client.get(answer.headers["hx-redirect"]).text
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
    answer = upload(visitor, json.dumps(row) + "\n")
    shown = unescape(visitor.client.get(answer.headers["hx-redirect"]).text)
    assert "user: Ann has 3 <pens>." in shown
    assert "assistant: I see." in shown
    assert "rows are conversations" in shown


def test_a_refused_upload_reports_each_bad_row_and_stores_nothing(visitor: Visitor) -> None:
    answer = upload(visitor, as_jsonl([ROWS[0], {"question": "No answer?"}]))
    assert answer.status_code == 422
    assert "Row 2, <code>answer</code>" in answer.text
    assert "<html" not in answer.text  # a part of the page
    assert visitor.api.client.get("/v1/datasets").json()["data"] == []


def test_a_refused_upload_says_the_fix_in_the_controls_of_the_form(visitor: Visitor) -> None:
    rows = [{"prompt": "How many?", "label": "2"}]
    told = unescape(upload(visitor, as_jsonl(rows)).text)
    assert "Or map it: question:prompt,answer:label in the field Columns." in told
    answer = upload(visitor, as_jsonl(rows), map="question:prompt,answer:label")
    assert answer.status_code == 204, answer.text


def test_overlap_is_taken_where_the_form_says_so(visitor: Visitor) -> None:
    row = {"question": "How many?", "answer": "2"}
    rows = as_jsonl([row, {**row, "split": "validation"}])
    refused = upload(visitor, rows)
    assert "or choose to take held-out questions that are trained on." in unescape(refused.text)
    assert upload(visitor, rows, allow_overlap="true").status_code == 204
    assert 'name="allow_overlap"' in visitor.get("/datasets").text


def test_an_upload_without_the_token_is_refused(visitor: Visitor) -> None:
    files = {"file": ("rows.jsonl", as_jsonl(ROWS))}
    answer = visitor.client.post("/dashboard/datasets", params={"kind": "numeric"}, files=files)
    assert answer.status_code == 403
    assert visitor.api.client.get("/v1/datasets").json()["data"] == []


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
    upload(visitor, as_jsonl(ROWS))
    dataset = visitor.api.client.get("/v1/datasets").json()["data"][0]["id"]
    page = visitor.get(f"/datasets/{dataset}").text
    assert 'data-confirm="Delete the dataset pens and its examples for good?"' in page
    visitor.post(f"/datasets/{dataset}/archive")
    assert dataset not in visitor.get("/datasets").text
    assert dataset in visitor.get("/datasets", archived="true").text
    answer = visitor.post(f"/datasets/{dataset}/delete")
    assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard/datasets")
    assert visitor.get(f"/datasets/{dataset}").status_code == 404
