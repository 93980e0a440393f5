"""Files as people have them: three formats, two compressions, columns by other names; and hostile ones."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from io import SEEK_END, BytesIO
from pathlib import Path
from threading import Event
from typing import Any, BinaryIO

import anyio
import anyio.lowlevel
import pyarrow as pa
import pytest
import zstandard
from pyarrow import parquet
from sqlalchemy import func, select

from app.database import reading
from app.errors import Invalid
from app.intake.child import Limits, reader
from app.intake.formats import Format
from app.intake.reading import Reading, Report
from app.intake.slots import ProjectSlots
from app.tables.data import Dataset
from app.turns import Neighbours
from star_engine.tasks.kind import Kind
from tests.app.api_harness import MODEL, Api, addition_rows, serve

ROWS = [{"question": f"What is {n} plus one?", "answer": str(n + 1), "group": "sums"} for n in range(12)]
JSONL = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
CSV = ("question,answer,group\n" + "".join(f"{r['question']},{r['answer']},sums\n" for r in ROWS)).encode()


@pytest.fixture(scope="module")
def one(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """One application for all: no test looks at what another has stored."""
    home = tmp_path_factory.mktemp("uploads")
    (home / "star.db").write_bytes(sqlite_template.read_bytes())
    with serve(f"sqlite:///{home / 'star.db'}", home, max_line_bytes=200_000) as api:
        yield api


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    out = BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


def send(api: Api, content: bytes, kind: str = "numeric", **changes: Any) -> Any:
    headers = changes.pop("headers", {})
    return api.client.post("/v1/datasets", params={"kind": kind, **changes}, content=content, headers=headers)


def examples(api: Api, answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code in (200, 201), answer.text
    found = api.client.get(f"/v1/datasets/{answer.json()['id']}/examples", params={"limit": 1000})
    return [{key: value for key, value in one.items() if key != "object"} for one in found.json()["data"]]


def refused(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 422, answer.text
    problem: dict[str, Any] = answer.json()
    assert all(error["fix"] for error in problem["errors"])
    return problem


def test_csv_and_parquet_hold_the_same_examples_as_jsonl(one: Api) -> None:
    wanted: list[dict[str, Any]] = [
        {**row, "context": [], "choices": None, "solution": None, "split": "train"} for row in ROWS
    ]
    sent = [
        send(one, JSONL),
        send(one, CSV, headers={"Content-Type": "text/csv; charset=utf-8"}),
        send(one, CSV + b"\n", format="csv"),
        send(one, as_parquet(ROWS)),
    ]
    for answer in sent:
        assert [{k: v for k, v in e.items() if k != "id"} for e in examples(one, answer)] == wanted
    assert [e["id"] for e in examples(one, sent[1])][:2] == [
        "row-2",
        "row-3",
    ]  # lines: the header is the first


def test_compressed_bytes_are_the_dataset_that_the_plain_bytes_are(one: Api) -> None:
    plain = send(one, JSONL).json()["id"]
    packed = gzip.compress(JSONL[:300]) + gzip.compress(JSONL[300:]), zstandard.compress(JSONL)
    sent = [
        send(one, packed[0], headers={"Content-Encoding": "gzip"}),
        send(one, packed[1], headers={"Content-Encoding": "zstd"}),
        send(one, packed[1]),
    ]
    for name, content in (("rows.jsonl.gz", packed[0]), ("rows.jsonl.zst", packed[1]), ("r.jsonl", JSONL)):
        files = {"file": (name, content)}
        sent.append(one.client.post("/v1/datasets", params={"kind": "numeric"}, files=files))
    assert [(answer.status_code, answer.json()["id"]) for answer in sent] == [(200, plain)] * 6


def test_compressed_csv_in_a_form_is_known_by_its_name(one: Api) -> None:
    files = {"file": ("table.CSV.gz", gzip.compress(CSV))}
    answer = one.client.post("/v1/datasets", params={"kind": "numeric", "seed": 5}, files=files)
    assert len(examples(one, answer)) == 12


@pytest.mark.parametrize(
    "mapping",
    [
        "question:prompt,answer:label,group:topic,choices:A,choices:B,choices:C",
        '{"question": "prompt", "answer": "label", "group": "topic", "choices": ["A", "B", "C"]}',
    ],
)
def test_columns_are_mapped_to_fields(one: Api, mapping: str) -> None:
    table = 'prompt,A,B,C,label,topic\n"Where, then?",here,there,,B,places\nWhen?,now,soon,never,c,times\n'
    rows = examples(one, send(one, table.encode(), "choice", format="csv", map=mapping))
    assert [(r["question"], r["choices"], r["answer"], r["group"]) for r in rows] == [
        ("Where, then?", ["here", "there"], "b", "places"),
        ("When?", ["now", "soon", "never"], "c", "times"),
    ]


def test_published_formats_are_read_from_parquet_too(one: Api) -> None:
    gsm8k = as_parquet([{"question": "How many?", "answer": "2 + 2 = 4\n#### 4"}])
    [read] = examples(one, send(one, gsm8k))
    assert (read["answer"], read["solution"]) == ("4", "2 + 2 = 4\n#### 4")
    hub_copy = {
        "id": "q7",
        "question": "Where?",
        "question_concept": "place",
        "choices": {"label": ["A", "B"], "text": ["here", "there"]},
        "answerKey": "B",
    }
    [read] = examples(one, send(one, as_parquet([hub_copy]), "choice"))
    assert (read["id"], read["choices"], read["answer"]) == ("q7", ["here", "there"], "b")


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ("question", "no pair"),
        ("answer:a,answer:b", "2 times"),
        ("prompt:question", "no field 'prompt'"),
        ('{"question": 3}', "no name"),
        ("{", "Not JSON"),
        (",".join(f"choices:c{n}" for n in range(100)), "too many"),
    ],
)
def test_bad_mapping_is_refused_with_how_to_write_it(one: Api, mapping: str, words: str) -> None:
    [error] = refused(send(one, JSONL, map=mapping))["errors"]
    assert error["field"] == "map"
    assert words in error["reason"]


def test_table_without_the_columns_is_one_mistake_with_the_mapping_that_mends_it(one: Api) -> None:
    problem = refused(send(one, b"quest,answer\n1,1\n2,2\n", format="csv"))
    assert problem["bad_rows"] == 1
    assert problem["errors"][0]["field"] == "question"
    assert "map=question:quest" in problem["errors"][0]["fix"]
    error = refused(send(one, as_parquet(ROWS), map="answer:gold"))["errors"][0]
    assert (error["field"], error["reason"]) == ("gold", "There is no such column.")


BAD_TABLES = [
    (b"question,answer\n1,1,1\n", 2, "row", "3 cells"),
    (b'question,answer\n"a\nb",1\nc,x\n', 4, "answer", "x"),
    (b'question,answer\n1,1\n"open,1\n2,2\n', 3, "row", "Not CSV"),
    (b"question,question\n1,1\n", 1, "row", "one name"),
    (b"question,answer\ncaf\xe9,1\n", 2, "row", "UTF-8"),
    (b"question,answer\n" + b"x" * 300_000 + b",1\n", 2, "row", "Longer than"),
    (b'question,answer\n"' + b"x\n" * 150_000 + b'",1\n', 2, "row", "Not CSV"),
    (b"question,answer\na\x00b,1\n", 2, "question", "NUL"),
    (b"question,answer\n", None, "row", "no rows"),
]


@pytest.mark.parametrize(("content", "line", "field", "words"), BAD_TABLES)
def test_bad_csv_is_refused_with_line_field_reason_and_mend(
    one: Api, content: bytes, line: int | None, field: str, words: str
) -> None:
    error = refused(send(one, content, format="csv"))["errors"][0]
    assert (error.get("line"), error["field"]) == (line, field)
    assert words in f"{error['reason']} {error['fix']}"


def test_row_nested_too_deep_is_refused_even_in_a_column_that_is_not_read(one: Api) -> None:
    deep = b'{"question": "1", "answer": "1", "more": ' + b"[" * 40 + b"]" * 40 + b"}"
    assert "deeper" in refused(send(one, deep))["errors"][0]["reason"]
    flat = b'{"question": "1", "answer": "1", "more": [' + b"[], " * 40 + b"[]]}"
    assert send(one, flat).status_code == 201


def test_answer_of_a_whole_page_is_refused_before_it_is_verified(one: Api) -> None:
    row = b'{"question": "Which?", "answer": "' + b"1 " * 10_000 + b'"}'
    assert "19999 characters" in refused(send(one, row))["errors"][0]["reason"]


def test_number_that_is_none_is_refused(one: Api) -> None:
    for value in (b"NaN", b"Infinity"):
        row = b'{"question": "Which?", "answer": ' + value + b"}"
        assert "no number" in refused(send(one, row))["errors"][0]["reason"]


def test_compression_that_is_broken_cut_off_or_unknown_is_refused(one: Api) -> None:
    whole = zstandard.compress(JSONL)
    for content, encoding, words in (
        (gzip.compress(JSONL)[:-5], "gzip", "cut off"),
        (whole[:-5], "zstd", "cut off"),
        (JSONL, "gzip", "not gzip"),
        (JSONL, "zstd", "not zstd"),
        (gzip.compress(JSONL) + b"rest", "gzip", "not gzip"),
        (JSONL, "br", "not taken"),
    ):
        [error] = refused(send(one, content, headers={"Content-Encoding": encoding}))["errors"]
        assert words in error["reason"]


def gzip_bomb(size: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)), packer.flush()])


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_bomb_is_refused_before_it_is_unpacked(one: Api, codec: str) -> None:
    bomb = gzip_bomb(64 << 20) if codec == "gzip" else zstandard.compress(bytes(256 << 20))
    problem = refused(send(one, bomb))
    assert problem["code"] == "unpacks_too_large"
    assert "100 times" in problem["detail"]


def test_unpacked_size_is_limited_whatever_the_ratio(sqlite_database_url: str, tmp_path: Path) -> None:
    with serve(sqlite_database_url, tmp_path / "home", max_unpacked_bytes=500, max_rows=2) as api:
        assert "500 bytes" in refused(send(api, gzip.compress(JSONL)))["detail"]
        three = addition_rows(3).encode()
        assert "more than 2 rows" in refused(send(api, three, "scratchpad"))["errors"][0]["reason"]
        with reading(api.engine) as session:
            assert session.scalar(select(func.count()).select_from(Dataset)) == 0


def limited(tmp_path: Path, content: BinaryIO, format_: Format) -> Report:
    """What a reader finds that has 512 MiB of address space, the interpreter and pyarrow included."""
    how = Reading(format_, Kind.NUMERIC, 0, 0, (), max_line_bytes=1 << 20, max_rows=10**6, max_row_errors=3)
    with (tmp_path / "out").open("w+b") as out:
        with reader(content, how, out, Limits(512 << 20, 1 << 30, 250)) as child:
            child.wait()
        out.seek(0)
        return Report.from_json(out.readline())


def test_endless_line_is_read_past_in_bounded_memory(tmp_path: Path) -> None:
    with (tmp_path / "endless").open("w+b") as file:
        file.truncate(600 << 20)  # a hole: NULs without a line break
        file.seek(0, SEEK_END)
        file.write(b'\n{"question": "1", "answer": "1"}\n')
        file.flush()
        report = limited(tmp_path, file, Format.JSONL)
    assert report.bad_rows == 1
    assert [(error.line, error.reason) for error in report.errors] == [(1, "Longer than 1048576 bytes.")]
    assert report.splits == {"train": 1}


def test_mistakes_are_counted_and_not_kept(tmp_path: Path) -> None:
    """Each of 400 mistakes quotes 1 MB of its row: together they would not fit."""
    with (tmp_path / "bad").open("w+b") as file:
        for number in range(400):
            file.write(b'{"question": "?", "answer": "1", "split": "%d' % number + b"x" * 1_000_000 + b'"}\n')
        file.flush()
        report = limited(tmp_path, file, Format.JSONL)
    assert (report.bad_rows, len(report.errors)) == (400, 3)
    assert max(len(error.reason) for error in report.errors) < 600


def test_parquet_bomb_is_refused_by_the_limits_of_its_reader(tmp_path: Path) -> None:
    """5,000 rows share one question of 1 MiB: 1 MiB on disk, a thousand times as much per batch."""
    questions = pa.DictionaryArray.from_arrays(pa.array([0] * 5000, pa.int32()), pa.array(["x" * (1 << 20)]))
    table = pa.table({"question": questions, "answer": pa.array(["1"] * 5000)})
    parquet.write_table(table, tmp_path / "bomb.parquet", store_schema=False)
    assert (tmp_path / "bomb.parquet").stat().st_size < 2 << 20
    with (tmp_path / "bomb.parquet").open("rb") as file, pytest.raises(Invalid, match="512 MiB of memory"):
        limited(tmp_path, file, Format.PARQUET)


def test_parquet_that_is_torn_is_refused(one: Api) -> None:
    whole = as_parquet(ROWS)
    for torn in (whole[:-20], whole[:40] + whole[60:], b"PAR1" + bytes(100) + b"PAR1"):
        problem = refused(send(one, torn))
        assert problem["code"] in ("invalid_rows", "unreadable_file")


def test_no_project_has_all_slots_for_uploads() -> None:
    async def main() -> tuple[list[str], str]:
        slots, go_on = ProjectSlots(2, Neighbours()), Event()
        began: list[str] = []

        def read(project: str) -> str:
            began.append(project)
            if project == "greedy":
                assert go_on.wait(30)
            return project

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(slots.run, "greedy", read, "greedy")
            while not began:
                await anyio.lowlevel.checkpoint()
            other = await slots.run("other", read, "other")  # would wait for ever behind two of greedy
            seen = list(began)
            go_on.set()
        return seen, other

    seen, other = anyio.run(main)
    assert (seen, other) == (["greedy", "other"], "other")


def test_a_fine_tuning_job_is_refused_for_its_settings_before_its_data_is_read(one: Api) -> None:
    form = {"files": {"file": ("rows.jsonl", JSONL)}, "data": {"purpose": "fine-tune"}}
    file = one.client.post("/v1/files", **form).json()["id"]  # type: ignore[arg-type]
    shown = one.prompt_set(
        kind="numeric", examples=[{"question": "1?", "rationale": "#### 1", "answer": "1"}]
    )
    before = one.client.get("/v1/datasets", params={"limit": 100}).json()["data"]
    for changes, field in (
        ({"config": {"iterations": -1}}, "config.iterations"),
        ({"model": "unknown"}, "model"),
        ({"preset": "unknown"}, "preset"),
        ({"metadata": {str(number): "a tag" for number in range(17)}}, "metadata"),
    ):
        body = {"model": MODEL, "training_file": file, "prompt_set": shown["id"], "seed": 77, **changes}
        answer = one.client.post("/v1/fine_tuning/jobs", json=body)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field), answer.text
    assert one.client.get("/v1/datasets", params={"limit": 100}).json()["data"] == before
