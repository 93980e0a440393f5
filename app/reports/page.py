"""A report as one HTML page that needs nothing else: no script, no other file."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from app.reports.chart import svg
from app.reports.document import Document
from star_engine.evaluation.answer import WORDS

_PAGES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    keep_trailing_newline=True,
)


def page(document: Document) -> str:
    """Render the report; names and texts of users are escaped."""
    return _PAGES.get_template("page.html").render(
        document=document,
        words=WORDS[document.verdict],
        svg=svg,
    )
