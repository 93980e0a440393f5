"""Rewords fixes for the command line: the server names its own fields, as in map=question:prompt."""

from __future__ import annotations

import re
import shlex

_MAP = re.compile(r"\bmap=(\w+:.+?)(?= or map=|\.(?:\s|$))")
_OTHERS = (
    (re.compile(r"\ballow_overlap=true\b|set allow_overlap to true"), "--allow-overlap"),
    (re.compile(r"\?validation=(\w+)|\bvalidation=(\w+)"), "--validation N"),
    (re.compile(r"\bformat=(\w+)"), r"--format \1"),
)


def in_command_line(text: str) -> str:
    """Name options of `star` where a fix names parameters of the API."""
    text = _MAP.sub(lambda found: _options(found[1]), text)
    for pattern, option in _OTHERS:
        text = pattern.sub(option, text)
    return text


def _options(mapping: str) -> str:
    """question:prompt,choices:A,choices:B is --map question=prompt --map choices=A,B."""
    columns: dict[str, list[str]] = {}
    for pair in mapping.split(","):
        field, _, column = pair.partition(":")
        columns.setdefault(field, []).append(column)
    pairs = [f"{field}={','.join(names)}" for field, names in columns.items()]
    return " ".join(f"--map {shlex.quote(pair)}" for pair in pairs)
