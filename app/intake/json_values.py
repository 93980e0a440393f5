"""Reads a JSON array of objects, or objects over several lines, one at a time."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from app.intake.mapping import Row
from star_engine.data.row_errors import bad_row, too_long

CHUNK = 64 << 10
_DECODER = json.JSONDecoder(parse_float=str)


def json_values(file: BinaryIO, max_bytes: int) -> Iterator[Row]:
    """Yield the objects with their numbers, counted from 1. Raises BadRows where the JSON is broken."""
    text = _Text(file, max_bytes)
    in_array = text.skip() == "["
    if in_array:
        text.drop(1)
    number = 0
    while (first := text.skip(",")) and first != "]":
        number += 1
        yield number, _as_row(text.value(number), number)
    if in_array and not first:
        raise bad_row(number + 1, "The JSON array is not closed.", "Send the whole file.")


def _as_row(value: Any, number: int) -> Any:
    if isinstance(value, dict):
        return value
    fix = 'Write {"question": ..., "answer": ...}.'
    return bad_row(number, f"A {type(value).__name__}, not an object.", fix)


class _Text:
    """Holds the decoded text from the current position on, and reads more of it when needed."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self.reader = codecs.getreader("utf-8-sig")(file)
        self.most, self.held, self.at = most, "", 0

    def skip(self, also: str = "") -> str:
        """Return the next character that is neither white space nor in `also`; "" at the end."""
        while True:
            while self.at < len(self.held) and self.held[self.at] in " \t\r\n" + also:
                self.at += 1
            if self.at < len(self.held):
                return self.held[self.at]
            if not self._more(0):
                return ""

    def drop(self, count: int) -> None:
        self.at += count

    def value(self, number: int) -> Any:
        """Return the JSON value at the current position. Raises BadRows."""
        while True:
            try:
                value, self.at = _DECODER.raw_decode(self.held, self.at)
            except (ValueError, RecursionError) as problem:
                if len(self.held) - self.at > self.most:
                    raise too_long(number, self.most) from problem
                if isinstance(problem, RecursionError) or not self._more(number):
                    reason = f"Not JSON: {getattr(problem, 'msg', problem)}."
                    raise bad_row(number, reason, "Write one JSON object per line (JSONL).") from problem
            else:
                return value

    def _more(self, number: int) -> bool:
        """Read as much again as is held, so that a long value is parsed a few times only."""
        rest = self.held[self.at :]
        try:
            found = self.reader.read(max(CHUNK, len(rest)))
        except UnicodeDecodeError as problem:
            raise bad_row(max(1, number), f"Not UTF-8: {problem}.", "Save the file as UTF-8.") from problem
        self.held, self.at = rest + found, 0
        return bool(found)
