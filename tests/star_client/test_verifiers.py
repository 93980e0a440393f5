"""Trying judgements out over the wire, with the SDK and with the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from star_client.client import StarClient
from star_client.verifiers import MAX_ROWS
from tests.star_client.conftest import Run
from tests.star_client.recorded_platform import Platform

SOLVED: dict[str, Any] = {
    "kind": "numeric",
    "completion": "6 bags with 7 rolls are 6 * 7 = 42.\n#### 42\nAnd now another.",
    "answer": "42",
}


def test_texts_are_judged_without_a_job(run: Run, server: Platform, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(f"{json.dumps(SOLVED)}\n\n{json.dumps({**SOLVED, 'answer': '7'})}\n")
    told = run(server, "verifiers", "run", file, "--json")
    assert told.status == 0
    first, second = told.objects
    assert (first["verdict"], first["span"], second["verdict"]) == ("correct", [41, 43], "wrong")
    assert first["trained_on"].endswith("#### 42")
    shown = run(server, "verifiers", "run", file)
    assert shown.status == 0
    assert "Row 1: correct (hashes); extracted: '42' at 41 to 43; kept" in shown.out


def test_a_row_that_cannot_be_judged_ends_with_4_and_the_others_are_judged(
    run: Run, server: Platform, tmp_path: Path
) -> None:
    file = tmp_path / "rows.json"
    file.write_text(json.dumps([{**SOLVED, "kind": "numbers"}, SOLVED]))
    told = run(server, "verifiers", "run", file)
    assert told.status == 4
    assert "Row 1, kind: There is no kind 'numbers'." in told.out
    assert "Row 2: correct" in told.out


@pytest.mark.parametrize("written", ["{", "42\n", "[1]"])
def test_rows_that_are_no_objects_are_wrong_usage(
    run: Run, server: Platform, tmp_path: Path, written: str
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(written)
    assert run(server, "verifiers", "run", file).status == 2


def test_rows_beyond_one_request_keep_their_numbers(star: StarClient) -> None:
    row = {"kind": "exact", "completion": "The answer is Paris.", "answer": "Paris"}
    found = star.verifiers.run([*[row] * MAX_ROWS, {**row, "answer": "Rome"}])
    assert [one.row for one in found] == list(range(1, MAX_ROWS + 2))
    assert {one.verdict for one in found[:MAX_ROWS]} == {"correct"}
    assert found[-1].verdict == "wrong"
