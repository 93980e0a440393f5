"""A file is looked at before it is uploaded: guesses, and bad rows with what they hold."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.app.api_harness import Api

SUMS = "".join(f"What is {n} plus {n}?;{2 * n}\n" for n in range(1, 21))
FOREIGN = "Prompt;Label\n" + SUMS


def look(api: Api, content: str | bytes, **query: Any) -> dict[str, Any]:
    answer = api.client.post("/v1/dataset-previews", params=query, content=content)
    assert answer.status_code == 200, answer.text
    assert api.client.get("/v1/datasets").json()["data"] == []  # nothing is stored
    return dict(answer.json())


def upload(api: Api, content: str, **query: Any) -> Any:
    return api.client.post("/v1/datasets", params=query, content=content)


def rows_of(api: Api, dataset: str) -> list[tuple[str, str]]:
    found = api.client.get(f"/v1/datasets/{dataset}/examples", params={"limit": 100}).json()["data"]
    return [(one["id"], one["answer"]) for one in found]


def jsonl(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


OPTIONS = "stem,A,B,C,answer\nWhich is a fruit?,apple,stone,car,A\nWhich swims?,cow,fish,hen,B\n"
PAIR = {"question": ["Prompt"], "answer": ["Label"]}
GUESSES: dict[str, tuple[str, str | None, dict[str, list[str]]]] = {
    "semicolons": (FOREIGN, "numeric", PAIR),
    "tabs": (FOREIGN.replace(";", "\t"), "numeric", PAIR),
    "digits": (jsonl({"question": "6 2 + 2 5", "answer": "8 7"}), "scratchpad", {}),
    "options": (OPTIONS, "choice", {"question": ["stem"], "choices": ["A", "B", "C"]}),
    "dates": (jsonl({"query": "When?", "answer": "2024-03-01"}), "date", {"question": ["query"]}),
    "texts": (jsonl({"question": "Who wrote it?", "answer": "Ada Lovelace"}), "exact", {}),
    "expressions": (jsonl({"question": "One half?", "answer": "\\frac{1}{2}"}), "math", {}),
    "documents": (jsonl({"text": "A first document."}, {"text": "A second one."}), "documents", {}),
    "worked": (jsonl({"question": "2 pens?", "answer": "2 * 3 = 6\n#### 6"}), "numeric", {}),
    "nothing": (jsonl({"foo": "x", "bar": "y"}), None, {}),
}


@pytest.mark.parametrize(("content", "kind", "mapping"), GUESSES.values(), ids=GUESSES)
def test_kind_and_columns_are_guessed(
    api: Api, content: str, kind: str | None, mapping: dict[str, list[str]]
) -> None:
    seen = look(api, content)
    assert (seen["kind"], seen["map"]) == (kind, mapping)


def test_what_is_guessed_is_what_an_upload_takes(api: Api) -> None:
    seen = look(api, FOREIGN, validation=4)
    assert seen["bad_rows"] == 0
    assert seen["splits"] == {"train": 16, "validation": 4}
    assert seen["rows"][0] | {"split": ""} == {
        "id": "row-2", "question": "What is 1 plus 1?", "answer": "2", "choices": None, "group": None,
        "solution": None, "split": "",
    }  # fmt: skip
    assert seen["columns"][1] == {"name": "Label", "samples": ["2", "4", "6"]}
    made = upload(
        api, FOREIGN, kind=seen["kind"], format=seen["format"], map=json.dumps(seen["map"]), validation=4
    )
    assert made.status_code == 201, made.text
    assert made.json()["splits"] == seen["splits"]


BAD = FOREIGN + "What is 30 plus 30?;unknown\n;7\nWhat is 31 plus 31?;62\n"


def test_bad_rows_are_shown_with_what_they_hold(api: Api) -> None:
    seen = look(api, BAD)
    assert seen["bad_rows"] == 2
    assert [row["line"] for row in seen["bad"]] == [22, 23]
    assert seen["bad"][0]["given"] == {"question": "What is 30 plus 30?", "answer": "unknown"}
    assert seen["bad"][0]["mistakes"][0]["field"] == "answer"
    assert seen["bad"][1]["given"] == {"answer": "7"}
    assert seen["statistics"] is None
    assert len(seen["first"]) == 8


def test_bad_rows_are_corrected_and_left_out_by_hand(api: Api) -> None:
    corrections = json.dumps({"22": {"answer": "60"}, "23": None})
    query = {"kind": "numeric", "map": "question:Prompt,answer:Label", "corrections": corrections}
    assert look(api, BAD, **query)["bad_rows"] == 0
    made = upload(api, BAD, **query)
    assert made.status_code == 201, made.text
    assert rows_of(api, made.json()["id"])[-2:] == [("row-22", "60"), ("row-24", "62")]
    assert made.json()["statistics"]["corrected"] == {"rows": 1}
    assert "1 row of the file was left out" in " ".join(made.json()["warnings"])


def test_all_bad_rows_are_left_out_and_the_dataset_says_so(api: Api) -> None:
    query = {"kind": "numeric", "map": "question:Prompt,answer:Label", "skip_bad_rows": True}
    made = upload(api, BAD, **query)
    assert made.status_code == 201, made.text
    assert len(rows_of(api, made.json()["id"])) == 21
    assert "2 rows of the file were left out" in " ".join(made.json()["warnings"])
    assert upload(api, BAD, **(query | {"skip_bad_rows": False})).status_code == 422  # another upload


def test_repeated_ids_and_leaks_are_left_out_too(api: Api) -> None:
    rows = [{"id": str(n), "question": f"What is {n} plus 1?", "answer": str(n + 1)} for n in range(10)]
    again = {**rows[0], "question": "What is 40 plus 1?", "answer": "41"}
    leaked = {"id": "held", "question": rows[3]["question"], "answer": "4", "split": "validation"}
    held = {"id": "fair", "question": "What is 50 plus 1?", "answer": "51", "split": "validation"}
    content = jsonl(*rows, again, leaked, held)
    assert [row["line"] for row in look(api, content, kind="numeric")["bad"]] == [11]
    made = upload(api, content, kind="numeric", skip_bad_rows=True).json()
    assert made["splits"] == {"train": 10, "validation": 1}
    assert made["statistics"]["left_out"]["rows"] == 2
    assert made["statistics"]["overlap"]["exact"]["examples"] == 0


def test_a_file_that_cannot_be_read_as_a_whole_is_refused_all_the_same(api: Api) -> None:
    answer = upload(api, "foo;bar\n1;2\n", kind="numeric", skip_bad_rows=True)
    assert answer.status_code == 422
    assert answer.json()["bad_rows"] == 1
    assert look(api, "foo;bar\n1;2\n", kind="numeric")["columns"][0] == {"name": "foo", "samples": ["1"]}


GAPS: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
    "a cell": (FOREIGN + "What is 40 plus 40?;\n", {"answer": "80"}, {"map": "question:Prompt,answer:Label"}),
    "a value": (
        jsonl(*({"q": f"What is {n} plus 40?", "a": str(n + 40) if n else ""} for n in range(39, -1, -1))),
        {"answer": "40"},
        {"map": "question:q,answer:a"},
    ),
    "choices": (
        OPTIONS.replace("A,B,C", "choices")
        .replace("apple,stone,car", '"[""apple"", ""stone""]"')
        .replace("cow,fish,hen", "cow or fish"),
        {"choices": ["cow", "fish"]},
        {"map": "question:stem", "kind": "choice"},
    ),
}


@pytest.mark.parametrize(("content", "fields", "query"), GAPS.values(), ids=GAPS)
def test_a_correction_keeps_what_else_the_row_holds(
    api: Api, content: str, fields: dict[str, Any], query: dict[str, str]
) -> None:
    query = {"kind": "numeric", **query}
    [bad] = look(api, content, **query)["bad"]
    assert bad["given"]["question"]
    query["corrections"] = json.dumps({str(bad["line"]): fields})
    assert look(api, content, **query)["errors"] == []
    made = upload(api, content, **query)
    assert made.status_code == 201, made.text
    rows = api.client.get(f"/v1/datasets/{made.json()['id']}/examples", params={"limit": 100}).json()["data"]
    assert rows[-1]["question"] == bad["given"]["question"]


def test_a_row_that_the_file_does_not_have_cannot_be_corrected(api: Api) -> None:
    query = {"kind": "numeric", "map": "question:Prompt,answer:Label", "skip_bad_rows": True}
    answer = upload(api, FOREIGN, corrections='{"99": null}', **query)
    assert answer.status_code == 422
    assert [error["reason"] for error in answer.json()["errors"]] == ["The file has no such row to correct."]


def test_a_question_of_several_columns_is_shown_as_it_is_read(api: Api) -> None:
    seen = look(
        api, "ask;about;answer\nHow many;legs?;many\n", kind="numeric", map="question:ask,question:about"
    )
    assert seen["bad"][0]["given"]["question"] == "How many legs?"


NO_CORRECTIONS = (
    "[1]",
    "{",
    '{"x": null}',
    '{"1": 2}',
    '{"1": {"colour": "red"}}',
    '{"1": {"answer": 4}}',
    '{"13": null, "013": {"answer": "4"}}',
)


@pytest.mark.parametrize("text", NO_CORRECTIONS)
def test_corrections_that_are_none_are_refused(api: Api, text: str) -> None:
    answer = upload(api, FOREIGN, kind="numeric", corrections=text)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_corrections")


def test_a_large_file_is_looked_at_in_a_process_of_its_own(api: Api) -> None:
    rows = [{"query": f"What is {n} plus 1?", "label": str(n + 1)} for n in range(9000)]
    seen = look(api, jsonl(*rows), validation=100)
    assert (seen["kind"], seen["splits"]) == ("numeric", {"train": 8900, "validation": 100})


def test_a_reader_of_the_project_uploads_nothing_to_look_at(api: Api) -> None:
    answer = api.client.post("/v1/dataset-previews", content=FOREIGN, headers=api.reader)
    assert answer.status_code == 403
