"""Mistakes in rows, worded for the author of the file, and grouped where they are equal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from star_engine.data.columns import Columns
from star_engine.tasks.verdict import SlowGold

SHOWN_LINES = 20  # of the rows that share a mistake


@dataclass(frozen=True, slots=True)
class RowError:
    """What is wrong with a row, for its author. `line` counts rows or few-shot examples from 1."""

    line: int
    field: str
    reason: str
    fix: str
    slow: bool = False  # the check of the answer was given up at its time limit
    columns: Columns = ()  # (field, column) pairs whose mapping would fix it

    def __str__(self) -> str:
        return f"row {self.line}, {self.field}: {self.reason} {self.fix}"


class BadRows(ValueError):
    """Rows that cannot be used; `errors` names every mistake found in them.

    rest: of a single row, the fields that could be read all the same, so that the others can be corrected.
    """

    def __init__(self, errors: Iterable[RowError], rest: Mapping[str, Any] | None = None) -> None:
        self.errors = tuple(errors)
        self.rest: Mapping[str, Any] = rest or {}
        super().__init__("\n".join(str(error) for error in self.errors))


def gold_error(line: int, field: str, given: object, problem: ValueError, columns: Columns = ()) -> RowError:
    reason, _, fix = str(problem).partition("; ")  # how the kinds word it
    fix = (fix or "give an answer that this kind can verify") + "."
    fix = fix[0].upper() + fix[1:]
    return RowError(line, field, f"{given!r} {reason}.", fix, isinstance(problem, SlowGold), columns)


@dataclass(frozen=True, slots=True)
class SameMistake:
    """The part of a mistake that several rows share."""

    field: str
    reason: str
    fix: str


class Grouped:
    """Groups equal mistakes of several rows, in the order of their first rows."""

    def __init__(self, most: int) -> None:
        self.most = most  # distinct mistakes to keep; later ones are dropped
        self.found: dict[SameMistake, tuple[int, list[int]]] = {}  # how many rows, and the first lines

    def add(self, error: RowError) -> None:
        same = SameMistake(error.field, error.reason, error.fix)
        if same in self.found:
            rows, lines = self.found[same]
            self.found[same] = (rows + 1, lines if len(lines) == SHOWN_LINES else [*lines, error.line])
        elif len(self.found) < self.most:
            self.found[same] = (1, [error.line])


def rows_in_words(lines: Sequence[int], rows: int) -> str:
    """Name the rows that share a mistake: "row 3", "row 3 and 7", "row 3, 7 and 91 more"."""
    if rows == 1:
        return f"row {lines[0]}"
    if rows == 2:
        return f"row {lines[0]} and {lines[1]}"
    return f"row {lines[0]}, {lines[1]} and {rows - 2} more"


def too_long(line: int, max_bytes: int) -> BadRows:
    return bad_row(line, f"Longer than {max_bytes} bytes.", "Shorten it; a row holds one question.")


def bad_row(line: int, reason: str, fix: str) -> BadRows:
    """Return a mistake in a row as a whole."""
    return BadRows([RowError(line, "row", reason, fix)])
