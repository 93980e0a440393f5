"""Which form of a report a client accepts (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from enum import StrEnum


class ReportFormat(StrEnum):
    JSON = "json"  # first: what a client gets that takes anything
    MARKDOWN = "markdown"
    HTML = "html"


MEDIA_TYPES = {
    ReportFormat.JSON: "application/json",
    ReportFormat.MARKDOWN: "text/markdown",
    ReportFormat.HTML: "text/html",
}


def accepted_format(accept: str) -> ReportFormat:
    """The form with the highest weight; JSON where none is accepted, since an answer beats a refusal."""
    weights = dict(map(_range, accept.split(",")))
    return max(ReportFormat, key=lambda form: _weight(MEDIA_TYPES[form], weights))


def _weight(media_type: str, weights: dict[str, float]) -> float:
    """Return the weight of the most specific range that names the type."""
    for name in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
        if name in weights:
            return weights[name]
    return 0.0


def _range(text: str) -> tuple[str, float]:
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    weight = next((part[2:] for part in parameters if part.startswith("q=")), "1")
    try:
        return name, float(weight)
    except ValueError:
        return name, 0.0
