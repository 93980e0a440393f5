"""YAML as people mean it: texts stay texts, and what YAML would lose is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from star_client.cli.wording import in_command_line
from star_client.errors import BadFile
from star_client.interop.yaml_files import parse_value, read_settings, read_text, read_texts
from star_engine.settings_yaml import load_settings


def texts(tmp_path: Path, content: str) -> Any:
    file = tmp_path / "prompts.yaml"
    file.write_text(content)
    return read_texts(file)


def settings(tmp_path: Path, content: str) -> Any:
    file = tmp_path / "config.yaml"
    file.write_text(content)
    return read_settings(file)


@pytest.mark.parametrize("text", ["no", "yes", "2024-01-02", "12:30", "010", "4.0", ".nan", "1_000", "true"])
def test_what_plain_yaml_reads_as_another_value_is_a_text(tmp_path: Path, text: str) -> None:
    found = texts(tmp_path, f"- answer: {text}\n  choices: [{text}, other]\n")
    assert found == [{"answer": text, "choices": [text, "other"]}]


@pytest.mark.parametrize(
    ("content", "rationale"),
    [
        ("- rationale: 2+2 is 4 #### 4\n", "2+2 is 4 #### 4"),
        ("- rationale: #### 4\n", "#### 4"),
        ("- rationale: 2+2 is 4\n    #### 4\n", "2+2 is 4 #### 4"),
        ("- rationale: |\n    2+2 is 4  # sure\n    #### 4\n", "2+2 is 4  # sure\n#### 4\n"),
        ('- rationale: "2+2 is 4 #### 4"  # a comment\n', "2+2 is 4 #### 4"),
        ("# first\n- rationale: a#b\n#### and the end\n", "a#b"),
    ],
)
def test_the_mark_before_an_answer_begins_no_comment(tmp_path: Path, content: str, rationale: str) -> None:
    assert texts(tmp_path, content) == [{"rationale": rationale}]


@pytest.mark.parametrize("content", ["- question: what is it? #1\n", "- [cat, dog #2\n  ]\n"])
def test_a_text_that_yaml_would_cut_at_a_comment_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(BadFile, match="quote the text"):
        texts(tmp_path, content)


def test_a_key_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="'answer' stands there twice"):
        texts(tmp_path, "- answer: 1\n  answer: 2\n")


def test_settings_know_numbers_and_nothing_that_json_has_not(tmp_path: Path) -> None:
    content = "a: 2 # few\nb: 1e-4\nc: true\nd: null\ne: 2024-01-02\nf: 12:30\ng: .nan\nh: -0.5\ni: [1, x]\n"
    wanted = {"a": 2, "b": 1e-4, "c": True, "d": None, "e": "2024-01-02", "f": "12:30", "g": ".nan"}
    assert settings(tmp_path, content) == {**wanted, "h": -0.5, "i": [1, "x"]}
    assert load_settings(content) == {**wanted, "h": -0.5, "i": [1, "x"]}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("32", 32),
        ("true", True),
        ("[1, 2]", [1, 2]),
        ("{a: 1}", {"a": 1}),
        ("Answer: (\\w+)", "Answer: (\\w+)"),
        ("[A-Z]+ (\\d)", "[A-Z]+ (\\d)"),
        ("#### (\\d+)", "#### (\\d+)"),
        ("A #1", "A #1"),
        ('"7"', "7"),
        ("2024-01-02", "2024-01-02"),
        ("null", None),
    ],
)
def test_a_value_of_the_command_line_is_what_it_looks_like(text: str, value: Any) -> None:
    assert parse_value(text) == value


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_is_read_in_the_encodings_of_editors(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("Q: café?", encoding=encoding)
    assert read_text(file) == "Q: café?"


def test_a_file_in_another_encoding_is_wrong_usage(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_bytes("Q: café?".encode("latin-1"))
    with pytest.raises(BadFile, match="Save it as UTF-8"):
        read_text(file)


@pytest.mark.parametrize(
    ("api", "command"),
    [
        (
            "Name a column so. Or map it: map=question:prompt,answer:final answer.",
            "Name a column so. Or map it: --map question=prompt --map 'answer=final answer'.",
        ),
        (
            "Or map it: map=answer_index:answer or map=answer_number:answer.",
            "Or map it: --map answer_index=answer or --map answer_number=answer.",
        ),
        ("map several columns: map=choices:A,choices:B.", "map several columns: --map choices=A,B."),
        ("map=question:messages.0.content.", "--map question=messages.0.content."),
        ("or upload it with allow_overlap=true.", "or upload it with --allow-overlap."),
        ("or set allow_overlap to true.", "or --allow-overlap."),
        ("Upload it again with ?validation=N to carve", "Upload it again with --validation N to carve"),
        ("The heatmap=1 stays.", "The heatmap=1 stays."),
    ],
)
def test_a_fix_is_said_as_options_of_the_command(api: str, command: str) -> None:
    assert in_command_line(api) == command
