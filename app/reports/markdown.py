"""A report as Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from app.reports.document import Document, Section, Table
from star_engine.evaluation.answer import WORDS

_MARKUP = re.compile(r"([\\`*_\[\]<>|#~&])")


def markdown(document: Document) -> str:
    facts = "\n".join(f"- {_escape(name)}: {_escape(value)}" for name, value in document.facts.rows)
    parts = [
        f"# {_escape(document.title)}",
        f"**{WORDS[document.verdict].capitalize()}.** {_escape(document.answer)}",
        facts,
    ]
    for section in document.sections:
        parts += _section(section)
    return "\n\n".join(parts) + "\n"


def _section(section: Section) -> list[str]:
    parts = [f"## {_escape(section.title)}", _escape(section.text)]
    return parts if section.table is None else [*parts, _table(section.table)]


def _table(table: Table) -> str:
    return "\n".join([_row(table.header), "|" + " --- |" * len(table.header), *map(_row, table.rows)])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_escape, cells))} |"


def _escape(text: str) -> str:
    """Put user text on one line, without markup."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))
