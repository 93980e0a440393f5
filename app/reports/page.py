"""A report as one HTML page that needs nothing else: no script, no other file."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from app.reports.chart import svg
from app.reports.document import Document, Section, Table
from star_engine.evaluation.answer import WORDS

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 72rem; margin: 2rem auto }
body { padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }
th, td { text-align: left; vertical-align: top; padding: .2rem .7rem .2rem 0 }
th, td { border-bottom: 1px solid #ddd }
td { font-variant-numeric: tabular-nums }
.answer { font-size: 1.15rem; border-left: 4px solid #5b616a; padding-left: 1rem }
.answer.helped { border-color: #156b3d } .helped strong { color: #156b3d }
.answer.no_difference { border-color: #7d5000 } .no_difference strong { color: #7d5000 }
.answer.worse { border-color: #a8201a } .worse strong { color: #a8201a }
svg { max-width: 100%; height: auto }
"""


def page(document: Document) -> str:
    title = escape(document.title)
    return "".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n",
            f'<p class="answer {document.verdict}"><strong>{WORDS[document.verdict].capitalize()}.</strong> ',
            f"{escape(document.answer)}</p>\n",
            _facts(document.facts),
            *(part for section in document.sections for part in _section(section)),
            "</body>\n</html>\n",
        )
    )


def _section(section: Section) -> Iterator[str]:
    yield f"<h2>{escape(section.title)}</h2>\n<p>{escape(section.text)}</p>\n"
    if section.chart is not None:
        yield svg(section.chart)
    if section.table is not None:
        yield _table(section.table)


def _table(table: Table) -> str:
    header = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in table.header)
    return f"<table>\n<thead><tr>{header}</tr></thead>\n<tbody>\n{_rows(table)}</tbody>\n</table>\n"


def _facts(table: Table) -> str:
    return f"<table>\n<tbody>\n{_rows(table)}</tbody>\n</table>\n"


def _rows(table: Table) -> str:
    rows = []
    for first, *others in table.rows:
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in others)
        rows.append(f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>\n')
    return "".join(rows)
