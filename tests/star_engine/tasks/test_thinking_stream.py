"""Thinking is told apart in pieces as in the whole text, wherever the pieces end."""

from __future__ import annotations

import pytest

from star_engine.tasks.reading.final_part import parted
from star_engine.tasks.reading.thinking_stream import ThinkingStream

TEXTS = [
    (
        "",
        "<think>\nIs 2 < 3?\n\nYes.\n</think>\n\nIt is 3.",
        ("Is 2 < 3?\n\nYes.", "It is 3."),
    ),
    ("<think>\n", "So 2.\n</think>\nThe answer is 2.", ("So 2.", "The answer is 2.")),
    ("", "<THINK>İki İİ</THINK>Yes", ("İki İİ", "Yes")),
    ("", "[THINK]a[/THINK]b", ("a", "b")),
    ("", "analysisWe add 1.assistantfinalIt is 2.", ("We add 1.", "It is 2.")),
    ("", "<think>\nThe limit cut </thi", ("The limit cut </thi", "")),
    ("<think>\n", "it at once", ("it at once", "")),
    ("", "<b>No</b> thinking.\n", ("", "<b>No</b> thinking.\n")),
    ("", " analysis of it", ("", " analysis of it")),
    ("", "<th", ("", "<th")),
    ("", "", ("", "")),
]


@pytest.mark.parametrize(("opening", "text", "expected"), TEXTS)
def test_pieces_part_as_the_whole_does(opening: str, text: str, expected: tuple[str, str]) -> None:
    assert parted(opening + text) == expected
    for size in range(1, len(text) + 2):
        stream = ThinkingStream(opening)
        parts = [stream.add(text[at : at + size]) for at in range(0, len(text), size)]
        parts.append(stream.add("", last=True))
        assert ("".join(one for one, _ in parts), "".join(one for _, one in parts)) == expected, size


def test_what_cannot_be_a_mark_is_told_at_once() -> None:
    stream = ThinkingStream()
    assert stream.add("<think>") == ("", "")
    assert stream.add("A < b") == ("A < b", "")
    assert stream.add(" holds</") == (" holds", "")
    assert stream.add("think>\n") == ("", "")
    assert stream.add("Yes") == ("", "Yes")


def test_channels_of_gpt_oss_are_parted() -> None:
    thought = "<|channel|>analysis<|message|>We add.<|end|>"
    said = "<|start|>assistant<|channel|>final<|message|>It is 2.<|return|>"
    assert parted(thought + said) == ("We add.", "It is 2.")
    assert parted("<|channel|>analysis<|message|>We add") == ("We add", "")
