"""Documents are read, held out and cut into windows without losing or repeating a token."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_engine.data.documents import held_out_documents, read_documents, windows
from star_engine.data.row_errors import BadRows


def test_a_line_of_jsonl_is_a_document_and_a_text_file_is_one(tmp_path: Path) -> None:
    lines = tmp_path / "documents.jsonl"
    lines.write_text('{"text": "one"}\n\n{"text": "two\\nlines", "source": "x"}\n')
    text = tmp_path / "book.txt"
    text.write_text("one\n\ntwo\n")
    assert read_documents(lines) == ["one", "two\nlines"]
    assert read_documents(text) == ["one\n\ntwo\n"]


def test_every_line_without_a_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "documents.jsonl"
    path.write_text('{"text": "one"}\nnot json\n{"body": "two"}\n{"text": " "}\n')
    with pytest.raises(BadRows) as refused:
        read_documents(path)
    assert [(one.line, one.reason[:7]) for one in refused.value.errors] == [
        (2, "This is"), (3, "Missing"), (4, "Not a t")
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["empty.jsonl", "empty.txt"])
def test_an_empty_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("\n")
    with pytest.raises(BadRows, match=r"no lines|is empty"):
        read_documents(tmp_path / name)


@given(st.lists(st.text(min_size=1), max_size=50), st.floats(0.1, 0.9), st.integers(0, 3))
def test_where_a_document_lands_depends_on_it_alone(documents: list[str], share: float, seed: int) -> None:
    train, held_out = held_out_documents(documents, share, seed)
    assert sorted(train + held_out) == sorted(documents)
    assert not set(train) & set(held_out)
    assert held_out_documents(documents[::-1], share, seed) == (train[::-1], held_out[::-1])


def test_the_share_is_about_what_was_asked_for() -> None:
    _, held_out = held_out_documents([json.dumps(n) for n in range(2000)], 0.1, 0)
    assert 150 < len(held_out) < 250


@given(st.lists(st.lists(st.integers(1, 9), max_size=20), max_size=20), st.integers(1, 12))
def test_windows_are_the_documents_end_to_end(documents: list[list[int]], length: int) -> None:
    cut = list(windows(documents, length, 0))
    whole = [token for ids in documents for token in (*ids, 0)]
    assert [token for window in cut for token in window] == whole[: len(cut) * length]
    assert all(len(window) == length for window in cut)
    assert len(whole) - len(cut) * length < length
