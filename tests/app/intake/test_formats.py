"""What common files are, read as they are or named with the fix."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.app.api_harness import Api

ROWS = [{"question": f"What is {n} plus one?", "answer": str(n + 1)} for n in range(5)]
JSONL = "".join(json.dumps(row) + "\n" for row in ROWS)
ARRAY = json.dumps(ROWS)
PRETTY = json.dumps(ROWS, indent=2)
TABLE = "question;answer\n" + "".join(f"{row['question']};{row['answer']}\n" for row in ROWS)


def send(api: Api, content: bytes | str, **query: Any) -> Any:
    return api.client.post("/v1/datasets", params={"kind": "numeric", **query}, content=content)


def read(api: Api, answer: Any) -> list[tuple[str, str]]:
    assert answer.status_code in (200, 201), answer.text
    found = api.client.get(f"/v1/datasets/{answer.json()['id']}/examples").json()["data"]
    return [(one["question"], one["answer"]) for one in found]


WANTED = [(row["question"], row["answer"]) for row in ROWS]


@pytest.mark.parametrize(
    "content",
    [
        ARRAY,
        PRETTY,
        "\ufeff\n" + PRETTY,
        "\n".join(json.dumps(row, indent=1) for row in ROWS),
        TABLE,
        TABLE.replace(";", "\t"),
        "sep=;\n" + TABLE,
        TABLE.replace(";", ","),
        JSONL.encode("utf-16"),
        TABLE.encode("utf-16"),
        PRETTY.encode("utf-16"),
        b"\xfe\xff" + JSONL.encode("utf-16-be"),
    ],
    ids=[
        "array",
        "pretty array",
        "array with a BOM",
        "objects over several lines",
        "semicolons",
        "tabs",
        "sep=",
        "commas",
        "UTF-16 JSONL",
        "UTF-16 CSV",
        "UTF-16 array",
        "big-endian UTF-16",
    ],
)
def test_a_common_file_is_read_as_it_is(sqlite_api: Api, content: bytes | str) -> None:
    assert read(sqlite_api, send(sqlite_api, content)) == WANTED


def test_a_file_is_known_by_its_content_whatever_its_name(sqlite_api: Api) -> None:
    for name, content in (("rows.json", ARRAY), ("rows.jsonl", ARRAY), ("rows.csv", JSONL), ("r.tsv", TABLE)):
        files = {"file": (name, content.encode())}
        answer = sqlite_api.client.post("/v1/datasets", params={"kind": "numeric"}, files=files)
        assert read(sqlite_api, answer) == WANTED
    assert read(sqlite_api, send(sqlite_api, ARRAY, format="jsonl")) == WANTED


def test_a_semicolon_in_a_cell_of_a_comma_table_separates_nothing(sqlite_api: Api) -> None:
    table = "question,answer\nOne; two; how many?,2\n"
    assert read(sqlite_api, send(sqlite_api, table, format="csv")) == [("One; two; how many?", "2")]


def test_a_decimal_comma_of_a_semicolon_table_is_never_read_as_another_number(sqlite_api: Api) -> None:
    answer = send(sqlite_api, "question;answer\nHalf of seven?;3,5\n", format="csv")
    assert answer.status_code == 422
    assert "'3,5' is not one number" in answer.json()["errors"][0]["reason"]


def test_columns_of_a_semicolon_table_are_named_with_the_mapping(sqlite_api: Api) -> None:
    answer = send(sqlite_api, "prompt;label\nHow many?;3\n", format="csv")
    errors = answer.json()["errors"]
    assert all("there are 'prompt', 'label'" in one["reason"] for one in errors)
    assert all("map=question:prompt,answer:label." in one["fix"] for one in errors)


@pytest.mark.parametrize(
    ("content", "reason", "fix"),
    [
        (
            b"PK\x03\x04\x14\x00[Content_Types].xml\x00xl/",
            "Not an Excel workbook that can be read",
            "Save it again, or as CSV",
        ),
        (b"PK\x03\x04\x14\x00rows.jsonl", "a ZIP archive", "Unpack it"),
        (b"%PDF-1.7 ...", "It is a PDF.", "JSONL, CSV or Parquet"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "an old Excel workbook", "Save the sheet as CSV"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer", "git lfs pull"),
        (b"\n<!DOCTYPE html><html>", "a web page", "raw file"),
        (b"ARROW1\x00\x00", "an Arrow (Feather) file", "Parquet"),
        (JSONL.encode("utf-16-le"), "UTF-16 without a byte order mark", "UTF-8"),
        (JSONL.encode("utf-32"), "text in UTF-32", "UTF-8"),
        (b"\xff\xfe\x00\xd8" + "x".encode("utf-16-le"), "Not UTF-16", "UTF-8"),
    ],
)
def test_a_file_without_rows_is_named(sqlite_api: Api, content: bytes, reason: str, fix: str) -> None:
    answer = send(sqlite_api, content)
    assert answer.status_code == 422, answer.text
    [error] = answer.json()["errors"]
    assert reason in error["reason"]
    assert fix in error["fix"]


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        ('[{"question": "1?", "answer": "1"}, {"question": ]', 2, "Not JSON"),
        ('[{"question": "1?", "answer": "1"}', 2, "not closed"),
        ('[{"question": "1?", "answer": "1"}, 7]', 2, "A int, not an object"),
        ('[{"question": "1?"}]', 1, "Missing"),
        ("{\n" + json.dumps({"data": ROWS})[1:], 1, "holds the rows, in a list under 'data'"),
        (json.dumps({"version": "1", "data": ROWS}), 1, "holds the rows, in a list under 'data'"),
        ('[{"question": ' + "[" * 40 + "]" * 40 + ', "answer": "1"}]', 1, "Nested deeper"),
    ],
)
def test_a_mistake_in_json_is_told_with_its_row(
    sqlite_api: Api, content: str, line: int, reason: str
) -> None:
    answer = send(sqlite_api, content)
    assert answer.status_code == 422, answer.text
    error = answer.json()["errors"][0]
    assert (error["line"], error["fix"] != "") == (line, True)
    assert reason in error["reason"]
