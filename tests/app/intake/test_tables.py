"""Tables as people have them: options in columns, numbers as they were seen, texts in two columns."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.app.api_harness import Api

OPTIONS = "choices:A,choices:B,choices:C,choices:D"


def send(api: Api, content: bytes | str, kind: str = "choice", **query: Any) -> Any:
    return api.client.post("/v1/datasets", params={"kind": kind, **query}, content=content)


def examples(api: Api, answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 201, answer.text
    found: list[dict[str, Any]] = api.client.get(f"/v1/datasets/{answer.json()['id']}/examples").json()[
        "data"
    ]
    return found


def golds(api: Api, answer: Any) -> list[str]:
    return [row["choices"][ord(row["answer"]) - ord("a")] for row in examples(api, answer)]


def error(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 422, answer.text
    [found] = answer.json()["errors"]
    return dict(found)


def as_parquet(columns: dict[str, Any], schema: pa.Schema | None = None) -> bytes:
    file = BytesIO()
    parquet.write_table(pa.table(columns, schema=schema), file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("cells", "gold"),
    [("cat,,cow,hen,C", "cow"), (",dog,cow,hen,B", "dog"), ("cat,, ,hen,D", "hen"), ("yes,no,,,B", "no")],
)
def test_an_empty_option_cell_does_not_move_the_letters(sqlite_api: Api, cells: str, gold: str) -> None:
    table = f"question,A,B,C,D,answer\nWhich?,{cells}\n"
    assert golds(sqlite_api, send(sqlite_api, table, format="csv", map=OPTIONS)) == [gold]


def test_an_option_that_is_null_or_missing_does_not_move_the_letters(sqlite_api: Api) -> None:
    row = {"question": "Which?", "A": "cat", "C": "cow", "D": "hen", "answer": "C"}
    lines = "\n".join(map(json.dumps, [row, {**row, "B": None}, {**row, "B": " "}]))
    assert golds(sqlite_api, send(sqlite_api, lines, map=OPTIONS)) == ["cow"] * 3
    columns = {"question": ["1?", "2?"], "A": ["cat"] * 2, "B": [None, "dog"], "C": ["cow"] * 2}
    table = as_parquet({**columns, "D": ["hen"] * 2, "answer": ["C", "D"]})
    assert golds(sqlite_api, send(sqlite_api, table, map=OPTIONS)) == ["cow", "hen"]


def test_answers_that_count_from_0_throughout_are_indices(sqlite_api: Api) -> None:
    rows = [{"question": f"{n}?", "choices": list("wxyz"), "answer": n % 4} for n in range(8)]
    assert golds(sqlite_api, send(sqlite_api, "\n".join(map(json.dumps, rows)))) == list("wxyzwxyz")


def test_integer_answers_that_leave_it_open_are_refused_with_the_mapping_that_says_it(
    sqlite_api: Api,
) -> None:
    rows = [{"question": f"{n}?", "choices": list("wxyz"), "answer": 1} for n in range(3)]
    lines = "\n".join(map(json.dumps, rows))
    told = error(send(sqlite_api, lines))
    assert (told["field"], told["rows"], told["lines"]) == ("answer", 3, [1, 2, 3])
    assert "counted from 0 it is 'x', counted from 1 it is 'w'" in told["reason"]
    assert "map=answer_index:answer or map=answer_number:answer or map=answer_text:answer" in told["fix"]
    assert golds(sqlite_api, send(sqlite_api, lines, map="answer_index:answer")) == ["x"] * 3
    assert golds(sqlite_api, send(sqlite_api, lines, map="answer_number:answer")) == ["w"] * 3


def test_a_later_answer_that_does_not_fit_how_the_first_ones_count_is_refused(sqlite_api: Api) -> None:
    rows = [{"question": f"{n}?", "choices": list("wxyz"), "answer": n % 4} for n in range(1000)]
    rows.append({"question": "last?", "choices": list("wxyz"), "answer": 4})
    told = error(send(sqlite_api, "\n".join(map(json.dumps, rows))))
    assert (told["line"], told["field"]) == (1001, "answer_index")


def test_class_names_of_a_parquet_file_of_the_hub_are_what_its_integers_stand_for(sqlite_api: Api) -> None:
    label = {"names": ["A", "B", "C", "D"], "_type": "ClassLabel"}
    told = {b"huggingface": json.dumps({"info": {"features": {"answer": label}}}).encode()}
    fields = [("question", pa.string()), ("choices", pa.list_(pa.string())), ("answer", pa.int64())]
    columns = {"question": ["1?", "2?"], "choices": [list("wxyz")] * 2, "answer": [1, 2]}
    table = as_parquet(columns, pa.schema(fields, metadata=told))
    assert golds(sqlite_api, send(sqlite_api, table)) == ["x", "y"]


@pytest.mark.parametrize(
    ("values", "kind", "shown"),
    [
        ([0.1, 2.5], pa.float32(), ["0.1", "2.5"]),
        ([7.0, 2.5], pa.float64(), ["7", "2.5"]),
        ([7, 1 << 60], pa.int64(), ["7", "1152921504606846976"]),
        ([1e16, 1e-7], pa.float64(), ["10000000000000000", "0.0000001"]),
    ],
)
def test_numbers_of_a_parquet_file_are_stored_as_people_see_them(
    sqlite_api: Api, values: list[Any], kind: pa.DataType, shown: list[str]
) -> None:
    table = as_parquet({"question": ["1?", "2?"], "answer": pa.array(values, kind)})
    assert [row["answer"] for row in examples(sqlite_api, send(sqlite_api, table, "exact"))] == shown


def test_integers_of_a_parquet_column_with_a_gap_are_no_decimals(sqlite_api: Api) -> None:
    columns: dict[str, Any] = {"question": ["1?", "2?"], "answer": ["b", "b"]}
    table = as_parquet({**columns, **{name: [7.0, None] for name in "AC"}, "B": [8.0, 9.0], "D": [5.0] * 2})
    rows = examples(sqlite_api, send(sqlite_api, table, map=OPTIONS))
    assert rows[0]["choices"] == ["7", "8", "7", "5"]


def test_a_number_that_is_none_is_refused_in_parquet(sqlite_api: Api) -> None:
    table = as_parquet({"question": ["1?"], "answer": pa.array([float("nan")], from_pandas=False)})
    assert "'nan' is no number" in error(send(sqlite_api, table, "exact"))["reason"]


@pytest.mark.parametrize(
    "mapping",
    [
        "question:Body,question:Question,answer:Answer",
        '{"question": ["Body", "Question"], "answer": "Answer"}',
    ],
)
def test_a_question_may_stand_in_two_columns(sqlite_api: Api, mapping: str) -> None:
    row = {"Body": "Ann has 3 pens.", "Question": "How many has she? ", "Answer": "3.0", "Type": "Addition"}
    [read] = examples(sqlite_api, send(sqlite_api, json.dumps(row), "numeric", map=mapping))
    assert (read["question"], read["answer"]) == ("Ann has 3 pens. How many has she?", "3.0")
    told = error(send(sqlite_api, json.dumps({**row, "Body": " "}), "numeric", map=mapping))
    assert "'Body', mapped to it, is missing or empty" in told["reason"]


def test_a_chat_is_refused_with_the_mapping_that_reads_it(sqlite_api: Api) -> None:
    chat = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]
    line = json.dumps({"messages": chat})
    mapping = "question:messages.0.content,answer:messages.1.content"
    told = error(send(sqlite_api, line, "numeric"))
    assert told["field"] == "messages"
    assert f"map={mapping}." in told["fix"]
    [read] = examples(sqlite_api, send(sqlite_api, line, "numeric", map=mapping))
    assert (read["question"], read["answer"]) == ("2 + 2?", "4")


def test_columns_that_are_called_otherwise_are_named_with_the_whole_mapping(sqlite_api: Api) -> None:
    answer = send(sqlite_api, json.dumps({"prompt": "2 + 2?", "label": "4"}), "numeric")
    assert answer.status_code == 422
    assert all("map=question:prompt,answer:label." in one["fix"] for one in answer.json()["errors"])
    told = error(
        send(sqlite_api, b"prompt,final answer\n2 + 2?,4\n", "numeric", format="csv", map="question:prompt")
    )
    assert "map=question:prompt,answer:final answer." in told["fix"]
