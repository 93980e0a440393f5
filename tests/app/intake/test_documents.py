"""Documents, text without questions: uploaded as rows or as plain text, held out, guessed, refused by row."""

from __future__ import annotations

import io
import json
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from star_engine.data.documents import PIECE
from tests.app.api_harness import Api

TEXTS = [f"Document {number} says that {number} is a number.\n\nIt ends here. " for number in range(10)]


def _lines(rows: list[Any]) -> str:
    return "\n".join(json.dumps(row) for row in rows)


def test_documents_keep_their_white_space_and_some_are_held_out(sqlite_api: Api) -> None:
    made = sqlite_api.dataset(_lines([{"text": text} for text in TEXTS]), kind="documents", validation=3)
    assert (made["kind"], made["splits"]) == ("documents", {"train": 7, "validation": 3})
    assert made["warnings"] == []
    shown = sqlite_api.client.get(f"/v1/datasets/{made['id']}/examples").json()["data"]
    assert sorted(one["question"] for one in shown) == sorted(TEXTS)
    assert {one["answer"] for one in shown} == {""}


def test_a_row_without_a_text_is_named_with_the_columns_that_it_has(sqlite_api: Api) -> None:
    rows = _lines([{"text": "Fine."}, {"content": "Where?"}, {"text": 7}, {"text": " "}, {"text": "\x00"}])
    params: dict[str, Any] = {"kind": "documents", "validation": 1}
    refused = sqlite_api.client.post("/v1/datasets", params=params, content=rows)
    assert refused.status_code == 422
    told = {error["line"]: error["reason"] for error in refused.json()["errors"]}
    assert told[2] == "Missing; the row has 'content'."
    assert told[3] == "Not a text, or empty."
    assert "NUL" in told[5]
    assert {error["field"] for error in refused.json()["errors"]} == {"text"}
    made = sqlite_api.dataset(
        _lines([{"content": text} for text in TEXTS]), kind="documents", map="text:content"
    )
    assert sum(made["splits"].values()) == len(TEXTS)


def test_parquet_and_plain_text_are_documents_too(sqlite_api: Api) -> None:
    packed = io.BytesIO()
    parquet.write_table(pa.table({"text": TEXTS, "url": ["x"] * len(TEXTS)}), packed)
    params: dict[str, Any] = {"kind": "documents", "validation": 2}
    made = sqlite_api.client.post("/v1/datasets", params=params, content=packed.getvalue())
    assert made.json()["splits"] == {"train": 8, "validation": 2}
    line = "A line of a long text that has many of them, one below another.\n"
    text = "\n".join(line * (PIECE // len(line) + 1) + f"The end of part {part}.\n" for part in range(6))
    plain = {"Content-Type": "text/plain"}
    made = sqlite_api.client.post("/v1/datasets", params=params, content=text, headers=plain)
    assert made.json()["splits"] == {"train": 4, "validation": 2}
    shown = sqlite_api.client.get(f"/v1/datasets/{made.json()['id']}/examples").json()["data"]
    assert sorted(one["question"][-19:].strip() for one in shown) == [
        f"The end of part {n}."[-19:] for n in range(6)
    ]


def test_documents_are_known_without_a_kind_and_questions_are_not(sqlite_api: Api) -> None:
    rows = _lines([{"text": text} for text in TEXTS])
    made = sqlite_api.client.post("/v1/datasets", params={"validation": 2}, content=rows)
    assert (made.status_code, made.json()["kind"]) == (201, "documents")
    refused = sqlite_api.client.post("/v1/datasets", content=_lines([{"question": "1+1", "answer": "2"}]))
    assert (refused.status_code, refused.json()["code"]) == (422, "kind_required")


def test_a_job_that_asks_questions_refuses_documents(sqlite_api: Api) -> None:
    made = sqlite_api.dataset(_lines([{"text": text} for text in TEXTS]), kind="documents", validation=2)
    refused = sqlite_api.client.post("/v1/jobs", json=sqlite_api.job_body(dataset=made["id"]))
    assert refused.status_code == 422
