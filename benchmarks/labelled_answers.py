"""Measures how well answers are read: precision and recall on texts with a verdict by human judgement.

A row: kind, completion, answer, choices?, pattern?, finish_reason?, and `want`, correct or not_correct.
Precision is the share of the accepted that a person accepts too; recall the share of those that are accepted.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from star_engine.tasks.kind import Kind
from star_engine.tasks.reading.cut import answer_has_ended, cut_at_first_stop
from star_engine.tasks.registry import task_of
from star_engine.tasks.verdict import Verdict
from star_engine.tasks.verify import verify

Row = Mapping[str, Any]
USUAL_PATTERN = (
    r"Final answer: (\w+)"  # of rows of the kind pattern that bring none: the one that its errors show
)


@dataclass(slots=True)
class Figures:
    """Counts of one kind, and the rows that were judged otherwise than by the person."""

    right: int = 0  # accepted, by the person too
    wrongly_accepted: list[tuple[Row, Verdict]] = field(default_factory=list)
    lost: list[tuple[Row, Verdict]] = field(default_factory=list)
    rejected: int = 0

    @property
    def precision(self) -> float:
        accepted = self.right + len(self.wrongly_accepted)
        return self.right / accepted if accepted else 1.0

    @property
    def recall(self) -> float:
        wanted = self.right + len(self.lost)
        return self.right / wanted if wanted else 1.0


def read_rows(path: Path) -> list[Row]:
    """The rows of a JSONL file or of a JSON array."""
    text = path.read_text(encoding="utf-8")
    rows: list[Row] = (
        json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]
    )
    return rows


def judged(row: Row) -> tuple[Verdict, bool]:
    """The verdict on one row, and whether it trains: not where the token limit may have cut the answer."""
    options = {"pattern": row.get("pattern", USUAL_PATTERN)} if row["kind"] == Kind.PATTERN else {}
    found = verify(row["kind"], row["completion"], row["answer"], row.get("choices"), **options)
    if not found.is_correct or row.get("finish_reason") != "length":
        return found, found.is_correct
    text = cut_at_first_stop(row["completion"])
    closed = task_of(row["kind"]).closed_answers
    return found, found.span is not None and answer_has_ended(text, found.span, closed=closed)


def measure(rows: Iterable[Row]) -> dict[str, Figures]:
    """Figures by kind."""
    figures: dict[str, Figures] = defaultdict(Figures)
    for row in rows:
        found, accepted = judged(row)
        of_kind, wanted = figures[row["kind"]], row["want"] == "correct"
        if accepted and wanted:
            of_kind.right += 1
        elif accepted:
            of_kind.wrongly_accepted.append((row, found))
        elif wanted:
            of_kind.lost.append((row, found))
        else:
            of_kind.rejected += 1
    return dict(figures)


def table(figures: Mapping[str, Figures]) -> Iterator[str]:
    """Markdown lines, a row for each kind."""
    yield "| kind | rows | precision | recall | wrongly accepted | lost |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for kind, of_kind in figures.items():
        wrong, lost = len(of_kind.wrongly_accepted), len(of_kind.lost)
        rows = of_kind.right + wrong + lost + of_kind.rejected
        yield f"| {kind} | {rows} | {of_kind.precision:.3f} | {of_kind.recall:.3f} | {wrong} | {lost} |"
