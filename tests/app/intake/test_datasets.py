"""Datasets over HTTP: what is stored, what is refused and with which words."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from app.database import reading
from app.intake.batches import MAX_SLOW
from app.intake.formats import Format
from app.intake.reading import Reading, Report, read_upload
from app.ledger.data.examples import load_examples, split_size
from app.tables.data import Dataset, Example
from star_engine.tasks.kind import Kind
from star_engine.tasks.reading.math_process import PROCESS, MathTimeout
from tests.app.api_harness import Api, addition_rows, serve


def stored(api: Api) -> tuple[int, int]:
    with reading(api.engine) as session:
        count = [session.scalar(select(func.count()).select_from(table)) for table in (Dataset, Example)]
    return count[0] or 0, count[1] or 0


def test_upload_stores_every_row_in_its_split(api: Api) -> None:
    answer = api.client.post(
        "/v1/datasets",
        params={"name": "addition", "kind": "scratchpad", "validation": 4, "seed": 7},
        content=addition_rows(12),
    )
    assert answer.status_code == 201, answer.text
    dataset = answer.json()
    assert dataset["object"] == "dataset"
    assert dataset["id"].startswith("ds_")
    assert (dataset["name"], dataset["kind"]) == ("addition", "scratchpad")
    assert dataset["size_bytes"] == len(addition_rows(12))
    assert dataset["splits"] == {"train": 8, "validation": 4}
    assert dataset["created_at"].endswith("Z")
    assert answer.headers["location"] == f"/v1/datasets/{dataset['id']}"
    assert api.client.get(answer.headers["location"]).json() == dataset
    assert stored(api) == (1, 12)


def test_multipart_upload_is_the_same_dataset_as_the_raw_body(api: Api) -> None:
    raw = api.dataset(validation=2)
    answer = api.client.post(
        "/v1/datasets",
        params={"kind": "scratchpad", "validation": 2},
        files={"file": ("rows.jsonl", addition_rows(), "application/x-ndjson")},
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["id"] == raw["id"]


def test_same_upload_again_is_the_same_dataset_and_other_parameters_are_another(api: Api) -> None:
    first = api.dataset(validation=2, seed=1)
    again = api.client.post(
        "/v1/datasets",
        params={"kind": "scratchpad", "validation": 2, "seed": 1, "name": "other name"},
        content=addition_rows(),
    )
    assert again.status_code == 200
    assert again.json() == first
    assert api.dataset(validation=3, seed=1)["id"] != first["id"]
    assert stored(api)[0] == 2


def test_another_project_uploading_the_same_bytes_gets_a_dataset_of_its_own(api: Api) -> None:
    mine = api.dataset(validation=2)
    theirs = api.client.post(
        "/v1/datasets",
        params={"kind": "scratchpad", "validation": 2},
        content=addition_rows(),
        headers=api.other,
    )
    assert theirs.status_code == 201
    assert theirs.json()["id"] != mine["id"]


def test_split_of_a_row_is_kept_and_positions_count_within_it(api: Api) -> None:
    rows = [
        {"question": f"{n} + 1", "answer": str(n + 1), "split": "test" if n % 3 == 0 else "train"}
        for n in range(9)
    ]
    dataset = api.dataset("".join(json.dumps(row) + "\n" for row in rows), validation=0)
    assert dataset["splits"] == {"test": 3, "train": 6}
    with reading(api.engine) as session:
        assert split_size(session, dataset["id"], "test") == 3
        assert split_size(session, dataset["id"], "validation") == 0
        train = load_examples(session, dataset["id"], "train", range(6))
        some = load_examples(session, dataset["id"], "train", [0, 2, 5])
    assert [example.question for _, example in train] == [f"{n} + 1" for n in range(9) if n % 3]
    assert some == [train[0], train[2], train[5]]
    assert {example.split for _, example in train} == {"train"}


def test_choice_examples_keep_their_choices_in_order(api: Api) -> None:
    row = {
        "id": "q1",
        "question": "Where?",
        "choices": ["here", "there", "nowhere"],
        "answer": "B",
        "group": "places",
    }
    dataset = api.dataset(json.dumps(row) + "\n", kind="choice", validation=0)
    examples = api.client.get(f"/v1/datasets/{dataset['id']}/examples").json()["data"]
    assert examples == [
        {
            "object": "example",
            "id": "q1",
            "context": [],
            "question": "Where?",
            "choices": ["here", "there", "nowhere"],
            "answer": "b",
            "solution": None,
            "group": "places",
            "split": "train",
        }
    ]
    with reading(api.engine) as session:
        [(_, example)] = load_examples(session, dataset["id"], "train", [0])
    assert example.choices == ("here", "there", "nowhere")


def test_a_worked_solution_is_kept_beside_the_answer(api: Api) -> None:
    published = {"question": "How many in all?", "answer": "There are 48/2 = 24.\n#### 24"}
    rows = [published, {"question": "And then?", "answer": 3}]
    answer = api.client.post(
        "/v1/datasets", params={"kind": "numeric"}, content="\n".join(map(json.dumps, rows))
    )
    assert answer.status_code == 201, answer.text
    examples = api.client.get(f"/v1/datasets/{answer.json()['id']}/examples").json()["data"]
    assert [(item["answer"], item["solution"]) for item in examples] == [
        ("24", published["answer"]),
        ("3", None),
    ]
    with reading(api.engine) as session:
        loaded = load_examples(session, answer.json()["id"], "train", [0, 1])
    assert [example.solution for _, example in loaded] == [published["answer"], None]


def test_examples_page_through_a_dataset_once_each(api: Api) -> None:
    dataset = api.dataset()
    seen: list[str] = []
    after: dict[str, Any] = {}
    while True:
        page = api.client.get(f"/v1/datasets/{dataset['id']}/examples", params={"limit": 5, **after}).json()
        seen += [example["id"] for example in page["data"]]
        assert page["first_id"] == page["data"][0]["id"]
        if not page["has_more"]:
            break
        after = {"after": page["last_id"]}
    assert seen == [f"row-{n}" for n in range(1, 13)]
    only = api.client.get(f"/v1/datasets/{dataset['id']}/examples", params={"split": "validation"}).json()[
        "data"
    ]
    assert len(only) == 4
    assert {example["split"] for example in only} == {"validation"}


def test_datasets_are_listed_newest_first(api: Api) -> None:
    ids = [api.dataset(validation=n)["id"] for n in range(3)]
    page = api.client.get("/v1/datasets", params={"limit": 2}).json()
    rest = api.client.get("/v1/datasets", params={"limit": 2, "after": page["last_id"]}).json()
    listed = [dataset["id"] for dataset in page["data"] + rest["data"]]
    assert sorted(listed) == sorted(ids)
    assert listed == sorted(ids, reverse=True)
    assert (page["has_more"], rest["has_more"]) == (True, False)
    named = api.client.get("/v1/datasets", params={"name": "dataset"}).json()["data"]
    assert [one["version"] for one in named] == [3, 2, 1]
    assert api.client.get("/v1/datasets", params={"name": "other"}).json()["data"] == []


BAD_ROWS: list[tuple[str, str, bytes, int | None, str, str]] = [
    # what, kind, body, line, field, part of the reason or fix
    ("empty file", "scratchpad", b"", None, "row", "no rows"),
    ("blank lines only", "scratchpad", b"\n\n  \n", None, "row", "no rows"),
    ("no answer", "scratchpad", b'{"question": "1 + 1"}', 1, "answer", "Missing"),
    ("empty question", "scratchpad", b'{"question": " ", "answer": "2"}', 1, "question", "empty"),
    ("misspelt field", "scratchpad", b'{"question": "1 + 1", "anwser": "2"}', 1, "anwser", "'answer'"),
    ("not JSON", "scratchpad", b"What is 1 + 1? 2\n", 1, "row", "Not JSON"),
    ("a list", "scratchpad", b"[1, 2]", 1, "row", "not an object"),
    ("not UTF-8", "scratchpad", b'{"question": "caf\xe9", "answer": "2"}', 1, "row", "UTF-8"),
    ("NUL", "scratchpad", b'{"question": "1 \\u0000 1", "answer": "2"}', 1, "question", "NUL"),
    ("NUL in an id", "scratchpad", b'{"id": "\\u0000", "question": "1", "answer": "2"}', 1, "id", "NUL"),
    ("lone surrogate", "scratchpad", b'{"question": "\\ud800", "answer": "2"}', 1, "question", "half"),
    ("NaN", "numeric", b'{"question": "How many?", "answer": NaN}', 1, "answer", "nan"),
    (
        "huge integer",
        "numeric",
        b'{"question": "How many?", "answer": ' + b"9" * 5000 + b"}",
        1,
        "row",
        "JSON",
    ),
    ("deep nesting", "numeric", b'{"question": ' + b"[" * 100_000, 1, "row", "Not JSON"),
    ("no number", "numeric", b'{"question": "How many?", "answer": "many"}', 1, "answer", "many"),
    (
        "choice answer that is no choice",
        "choice",
        b'{"question": "Where?", "choices": ["here", "there"], "answer": "c"}',
        1,
        "answer",
        "no choice",
    ),
    ("no choices", "choice", b'{"question": "Where?", "answer": "a"}', 1, "choices", "2 to 26"),
    (
        "same id twice",
        "scratchpad",
        b'{"id": "x", "question": "1 + 1", "answer": "2"}\n{"id": "x", "question": "1 + 2", "answer": "3"}',
        2,
        "id",
        "row 1",
    ),
    (
        "nothing to train on",
        "scratchpad",
        b'{"question": "1", "answer": "1", "split": "test"}',
        None,
        "split",
        "train",
    ),
    ("long line", "scratchpad", b'{"question": "1"}\n"' + b"x" * 300_000 + b'"\n', 2, "row", "Longer than"),
]


@pytest.mark.parametrize(
    ("kind", "body", "line", "field", "words"),
    [row[1:] for row in BAD_ROWS],
    ids=[row[0] for row in BAD_ROWS],
)
def test_bad_file_is_refused_with_line_field_reason_and_mend(
    sqlite_database_url: str, tmp_path: Path, kind: str, body: bytes, line: int | None, field: str, words: str
) -> None:
    with serve(sqlite_database_url, tmp_path / "home", max_line_bytes=200_000) as api:
        answer = api.client.post("/v1/datasets", params={"kind": kind, "validation": 1}, content=body)
        assert answer.status_code == 422, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        error = next(error for error in problem["errors"] if error["field"] == field)
        assert error.get("line") == line
        assert words in f"{error['reason']} {error['fix']}"
        assert error["fix"]
        assert problem["error"]["message"] == problem["detail"]
        assert stored(api) == (0, 0)


def test_every_bad_row_is_named_up_to_the_limit(sqlite_database_url: str, tmp_path: Path) -> None:
    good = '{"question": "1 + 1", "answer": "2"}\n'
    bad = [f'{{"question": "1 + 1", "answer": "no {n}"}}\n' for n in range(50)]
    with serve(sqlite_database_url, tmp_path / "home", max_row_errors=5) as api:
        params = {"kind": "scratchpad"}
        few = api.client.post("/v1/datasets", params=params, content=good + bad[0] + good + bad[1]).json()
        many = api.client.post("/v1/datasets", params=params, content=good + "".join(bad)).json()
    assert [error["line"] for error in few["errors"]] == [2, 4]
    assert "2 rows" in few["detail"]
    assert few["bad_rows"] == 2
    assert [error["line"] for error in many["errors"]] == [2, 3, 4, 5, 6]
    assert "first 5" in many["detail"]
    assert many["bad_rows"] == 50


def test_equal_mistakes_are_told_once_with_their_rows(api: Api) -> None:
    rows = ['{"question": "1 + 1"}', '{"question": "1 + 1", "answer": "2"}', *['{"question": "1?"}'] * 92]
    refused = api.client.post("/v1/datasets", params={"kind": "scratchpad"}, content="\n".join(rows)).json()
    [error] = refused["errors"]
    assert (error["line"], error["lines"][:3], error["rows"]) == (1, [1, 3, 4], 93)
    assert refused["bad_rows"] == 93


def test_body_longer_than_the_limit_is_413_even_without_a_content_length(
    sqlite_database_url: str, tmp_path: Path
) -> None:
    chunks = (b'{"question": "1 + 1", "answer": "2"}\n' for _ in range(1000))
    with serve(sqlite_database_url, tmp_path / "home", max_upload_bytes=10_000) as api:
        raw = api.client.post("/v1/datasets", params={"kind": "scratchpad"}, content=chunks)
        file = {"file": ("rows.jsonl", b"x" * 20_000)}
        multipart = api.client.post("/v1/datasets", params={"kind": "scratchpad"}, files=file)
        assert stored(api) == (0, 0)
    for answer in (raw, multipart):
        assert answer.status_code == 413, answer.text
        assert answer.headers["content-type"] == "application/problem+json"


def test_compressed_body_and_form_without_a_file_are_refused(api: Api) -> None:
    url, params = "/v1/datasets", {"kind": "scratchpad"}
    compressed = api.client.post(url, params=params, content=b"...", headers={"Content-Encoding": "gzip"})
    no_file = api.client.post(url, params=params, files={"rows": ("rows.jsonl", b"{}")})
    broken = api.client.post(
        url, params=params, content=b"x", headers={"Content-Type": "multipart/form-data"}
    )
    assert [answer.status_code for answer in (compressed, no_file, broken)] == [422, 422, 400]


def test_unknown_dataset_and_another_projects_are_the_same_404(api: Api) -> None:
    dataset = api.dataset()
    for path in ("", "/examples"):
        missing = api.client.get(f"/v1/datasets/ds_0{path}")
        foreign = api.client.get(f"/v1/datasets/{dataset['id']}{path}", headers=api.other)
        assert (missing.status_code, foreign.status_code) == (404, 404)
        assert foreign.json()["detail"] == f"There is no dataset {dataset['id']}."
    assert api.client.get("/v1/datasets", headers=api.other).json()["data"] == []


def test_reading_stops_after_a_few_answers_that_take_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def endless(gold: str, *_: Any) -> Any:
        asked.append(gold)
        raise MathTimeout(gold)

    monkeypatch.setattr(PROCESS, "ask", endless)
    rows = "".join(json.dumps({"question": f"{n}?", "answer": f"x^{n}"}) + "\n" for n in range(100)).encode()
    how = Reading(Format.JSONL, Kind.MATH, 0, 0, (), max_line_bytes=1000, max_rows=1000, max_row_errors=10)
    out = BytesIO()
    read_upload(BytesIO(rows), how, out)
    report = Report.from_json(out.getvalue().splitlines()[0])
    assert len(asked) == MAX_SLOW
    assert report.errors[-1].reason == f"Not looked at: {MAX_SLOW} answers above it took too long to check."
    assert report.bad_rows == MAX_SLOW + 1


def test_a_row_below_slow_answers_that_are_left_out_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = PROCESS.ask

    def slow_on_powers(gold: str, *others: Any) -> Any:
        if gold.startswith("x^"):
            raise MathTimeout(gold)
        return ask(gold, *others)

    monkeypatch.setattr(PROCESS, "ask", slow_on_powers)
    answers = [*(f"x^{n}" for n in range(MAX_SLOW)), "1", "2"]
    rows = [json.dumps({"question": f"{n}?", "answer": one}) for n, one in enumerate(answers)]
    how = Reading(
        Format.JSONL, Kind.MATH, 0, 0, (), max_line_bytes=1000, max_rows=100, max_row_errors=10,
        skip_bad_rows=True,
    )  # fmt: skip
    out = BytesIO()
    read_upload(BytesIO("\n".join(rows).encode()), how, out)
    written = out.getvalue().splitlines()
    report, statistics = Report.from_json(written[0]), json.loads(written[-1])
    assert (report.bad_rows, report.splits) == (0, {"train": 2})
    assert statistics["left_out"]["rows"] == MAX_SLOW
    assert all("Not looked at" not in one["reason"] for one in statistics["left_out"]["mistakes"])


def test_a_small_file_of_expressions_is_read_within_the_limits_of_a_child(sqlite_api: Api) -> None:
    rows = b'{"question": "Factor.", "answer": "(x+1)^2"}\n{"question": "Root?", "answer": "2\\\\sqrt{3}"}\n'
    query = {"kind": "math"}
    answer = sqlite_api.client.post("/v1/datasets", params=query, content=rows)
    assert answer.status_code == 201, answer.text
    assert PROCESS.pid is None  # nothing of it was compared beside this process
