"""What the `star` command prints: JSON lines for scripts, tables for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from math import exp
from typing import TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

from star_client.cli.wording import in_command_line
from star_client.errors import ProblemError, StarError
from star_client.objects import Fields, Rationale, rfc3339

F = TypeVar("F", bound=Fields)
Columns = Mapping[str, Callable[[F], object]]

PIPE_WIDTH = 240  # where no terminal sets a width, `grep` should find a row on one line

# markup=False: names and rationales may hold [brackets].
console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, markup=False, highlight=False)


def print_json(found: Fields) -> None:
    """Print one object on one line."""
    text = found.model_dump_json()
    if found.etag is not None:
        text = json.dumps(json.loads(text) | {"etag": found.etag}, ensure_ascii=False, separators=(",", ":"))
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def print_all(found: Iterable[F], columns: Columns[F], as_json: bool) -> None:
    """Print one JSON line, or one table row, for each object."""
    if as_json:
        for one in found:
            print_json(one)
        return
    table = Table(*columns, box=None, pad_edge=False, header_style="dim")
    table.columns[0].no_wrap = True  # an id is there to be copied
    for one in found:
        table.add_row(*(_cell(value(one)) for value in columns.values()))
    console.print(table)


def print_one(found: F, columns: Columns[F], as_json: bool) -> None:
    """Print one JSON line, or one line for each column."""
    if as_json:
        print_json(found)
        return
    grid = Table.grid(padding=(0, 2))
    for name, value in columns.items():
        grid.add_row(Text(name, "dim"), _cell(value(found)))
    console.print(grid)


def print_rationale(found: Rationale) -> None:
    """Print one rationale in full: prompt, hint, text and outcome."""
    fate = f"{found.decision or 'undecided'}{f' ({found.reason})' if found.reason else ''}"
    parts: dict[str, str | None] = {
        "question": f"{found.example.whole_question}\nanswer: {found.example.answer}",
        "hint": found.hint,
        f"{found.route}, iteration {found.iteration}": found.text,
        "verdict": f"{found.verdict} ({found.rule}); extracted: {found.extracted}; {fate}",
        "probability of the answer after each sentence": _reading(found),
        "training row": "{prompt}{completion}".format_map(found.training_row) if found.training_row else None,
    }
    for title, text in parts.items():
        print_text(title, text)


def _reading(found: Rationale) -> str | None:
    """One line for each place at which the rationale was cut: the probability, and what was read there."""
    lines, start = [], 0
    for place in found.reading or ():
        said = " ".join(found.text[start : place.end].split()) or "(no rationale)"
        lines.append(f"{100 * min(1.0, exp(place.logprob)):5.1f} %  {said}")
        start = place.end
    return "\n".join(lines) or None


def print_text(title: str, text: str | None) -> None:
    """Print a text unchanged under its title; nothing if it is None."""
    if text:
        console.print(Text(title, "bold"))
        console.print(Text(text), soft_wrap=True)


def print_error(error: StarError, as_json: bool) -> None:
    if as_json:
        body = {"code": type(error).__name__.lower(), "detail": str(error)}
        if isinstance(error, ProblemError):
            body = dict(error.body) or {"code": error.code, "detail": error.detail}
        sys.stderr.write(json.dumps(body) + "\n")
        return
    sys.stderr.write(f"{in_command_line(str(error))}\n")


def _cell(value: object) -> Text:
    if value is None:
        return Text("")
    if isinstance(value, float):
        return Text(f"{value:.3f}")
    return Text(str(value))


def moment(value: datetime) -> str:
    """A time of the server in UTC, to the minute."""
    return rfc3339(value)[:16].replace("T", " ")


def percent(share: float | None) -> str:
    """0.36 is 36.0 %, as on the dashboard."""
    return "" if share is None else f"{100 * share:.1f} %"


def amount(value: float) -> str:
    """41879500.0 is 41,879,500"""
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 100 else f"{value:,.1f}"


def shorten(text: str, width: int = 60) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"
