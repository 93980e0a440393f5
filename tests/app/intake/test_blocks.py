"""A large file is read by several processes; what comes of it is what one of them would have found."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import cast

import pytest

from app.intake import blocks, reading
from app.intake.batches import Rules
from app.intake.blocks import Blocks, _Worker
from app.intake.child import Limits, reader
from app.intake.formats import Format
from app.intake.reading import Reading, Report, read_upload
from star_engine.tasks.kind import Kind

HOW = Reading(Format.JSONL, Kind.NUMERIC, 5, 3, (), max_line_bytes=200, max_rows=10**6, max_row_errors=7)
GOOD = [{"question": f"How much is {n} and one?", "answer": str(n % 7 + 1)} for n in range(60)]
GOOD[7] |= {"id": "seven", "group": "odd", "solution": "tab\there"}
GOOD[21] |= {"question": "héure\u2028", "split": "test"}
GOOD[40]["question"] = GOOD[3]["question"].upper()
LINES = [json.dumps(row, ensure_ascii=False).encode() for row in GOOD]
BAD = {
    "no JSON": b"{",
    "no UTF-8": b'{"question": "caf\xe9", "answer": "1"}',
    "too long": b'{"question": "' + b"x" * 900 + b'", "answer": "1"}',
    "no answer": b'{"question": "And now?"}',
    "an id again": b'{"id": "seven", "question": "And now?", "answer": "1"}',
    "nothing": b"  ",
}


@pytest.fixture(autouse=True)
def every_file_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LARGE_BYTES", 0)


def outcome(path: Path, workers: int, how: Reading = HOW) -> bytes:
    out = BytesIO()
    with path.open("rb") as file:
        read_upload(file, how, out, workers=workers)
    return out.getvalue()


def with_bad_lines() -> list[bytes]:
    lines = list(LINES)
    for place, line in enumerate(BAD.values()):
        lines.insert(11 * place + 3, line)
    return lines


@pytest.mark.parametrize("block", [1, 150, 1000, 1 << 20])
@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + b"\r\n".join(LINES),
        b"\n".join(with_bad_lines()) + b"\n",
        b"\n".join([*LINES, BAD["too long"]]),
        b"\n\n\n",
        b"",
    ],
    ids=["good", "bad", "too long at the end", "blank", "empty"],
)
def test_several_processes_find_what_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, content: bytes
) -> None:
    monkeypatch.setattr(blocks, "BLOCK", block)
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    alone = outcome(path, 1)
    assert outcome(path, 2) == alone
    assert outcome(path, 3) == alone


@pytest.mark.parametrize("most", [1, 30, 59, 60])
def test_the_row_that_is_one_too_many_is_named_whoever_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(blocks, "BLOCK", 500)
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n".join(LINES))
    how = replace(HOW, max_rows=most)
    alone = outcome(path, 1, how)
    assert (b"more than" in alone) == (most < 60)
    assert outcome(path, 2, how) == alone


def receive_all(worker: _Worker) -> None:
    while True:
        worker.receive()


@pytest.mark.parametrize("lines", [1, 6000], ids=["read by one", "5 MB, read by several"])
def test_the_file_of_who_asks_can_be_closed_after_reading_ahead(lines: int) -> None:
    with TemporaryFile() as file, TemporaryFile() as out:
        file.write(b'{"question": "How%s?", "answer": "1"}\n' % (b" long" * 180) * lines)
        file.flush()
        file.seek(0)
        file.read(4)
        file.seek(0)
        with reader(file, replace(HOW, max_line_bytes=1000), out, Limits(1 << 30, 1 << 30, 60)) as child:
            child.wait()
        out.seek(0)
        assert sum(Report.from_json(out.readline()).splits.values()) == lines


def test_a_process_that_is_killed_is_taken_for_one_beyond_its_limits(tmp_path: Path) -> None:
    path = tmp_path / "endless.jsonl"
    path.write_bytes(b"\n".join(LINES * 1000))  # more than a pipe holds: it waits to be read
    how = Blocks(Rules(Kind.NUMERIC, 3), (), 200)
    with path.open("rb") as file, _Worker(file, how, 0, 1) as one:
        os.kill(one.pid, signal.SIGKILL)
        with pytest.raises(MemoryError):
            receive_all(one)


def test_a_process_that_fails_says_so_and_why(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(LINES[0])
    how = Blocks(cast(Rules, None), (), 200)
    failing = pytest.raises(RuntimeError, match="has failed")
    with path.open("rb") as file, _Worker(file, how, 0, 1) as one, failing:
        one.receive()
    assert "AttributeError" in capfd.readouterr().err
