"""Rewords fixes for the forms: the API names its own parameters, as in map=question:prompt."""

from __future__ import annotations

import re

_WORDS = (
    (re.compile(r"\bmap=(\w+:.+?)(?= or map=|\.(?:\s|$))"), r"\1, under What they are"),
    (
        re.compile(r"(upload it with )?\ballow_overlap=true\b|\bset allow_overlap to true"),
        "choose to take held-out questions that are trained on",
    ),
    (re.compile(r"\?validation=N\b"), "a number of rows to hold out"),
)


def in_the_form(text: str) -> str:
    """Name controls of the dashboard where a fix names parameters of the API."""
    for pattern, words in _WORDS:
        text = pattern.sub(words, text)
    return text
