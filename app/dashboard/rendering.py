"""Templates to responses. Everything that is put into a page is escaped: what a model wrote is text."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from app.dashboard.documentation import FOLDER, GUIDE
from app.dashboard.jobs.states import explain, verbs
from app.dashboard.session import PATH, csrf_token
from app.dashboard.static_files import static_url
from app.dashboard.wording import in_the_form
from app.http.schemas import rfc3339
from app.ledger.platform.keys import Caller, Scope
from star_engine.evaluation.answer import WORDS

NOTHING = "–"


def percent(share: float | None, digits: int = 1) -> str:
    """0.307 is 30.7 %"""
    return NOTHING if share is None else f"{100 * share:.{digits}f} %"


def number(value: float | None) -> str:
    """12345.6 is 12,346; below ten with two digits, below 0.01 with two that count."""
    if value is None:
        return NOTHING
    if 0 < abs(value) < 0.01:
        return f"{value:.2g}"
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 10 else f"{value:.2f}"


def duration(seconds: float | None) -> str:
    """4000 is 1 h 6 min"""
    if seconds is None:
        return NOTHING
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min {int(seconds % 60)} s"
    return f"{minutes // 60} h {minutes % 60} min"


def size(count: int | None) -> str:
    """4600000 is 4.6 MB"""
    value, unit = float(count or 0), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def moment(when: datetime | str | None) -> str:
    """2026-01-31 12:00:00 UTC; app.js tells it from now, or in the viewer's time zone."""
    if when is None:
        return NOTHING
    text = when if isinstance(when, str) else rfc3339(when)
    return f"{text[:10]} {text[11:19]} UTC"


def words(name: str | None) -> str:
    """verify_adapter is "verify adapter"."""
    return NOTHING if name is None else str(name).replace("_", " ")


def url(*parts: str, **query: object) -> str:
    """url("jobs", "job_1", page=2) is /dashboard/jobs/job_1?page=2; what is None or "" is left out."""
    path = "/".join([PATH, *(quote(part, safe="") for part in parts)])
    given = {key: value for key, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(given, doseq=True)}" if given else path


def sign_in_url(request: Request) -> str:
    """The sign-in form, which leads back to the page that was asked for."""
    if request.method != "GET" or request.headers.get("hx-request"):
        return url("sign-in")
    query = f"?{request.url.query}" if request.url.query else ""
    return url("sign-in", next=f"{request.url.path}{query}")


def with_query(request: Request, **changes: object) -> str:
    """Return this page's URL with some query parameters changed (None removes one)."""
    kept = {key: request.query_params.getlist(key) for key in request.query_params if key not in changes}
    given = {key: value for key, value in {**kept, **changes}.items() if value not in (None, "", [])}
    return f"{request.url.path}?{urlencode(given, doseq=True)}" if given else request.url.path


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "in_the_form": in_the_form,
        "percent": percent,
        "number": number,
        "duration": duration,
        "size": size,
        "moment": moment,
        "words": words,
        "rfc3339": lambda when: when if isinstance(when, str) else rfc3339(when),
    }
    made.globals |= {
        "url": url,
        "static": static_url,
        "guide": f"{GUIDE}/" if FOLDER.is_dir() else None,
        "number": number,
        "size": size,
        "Scope": Scope,
        "explain": explain,
        "verbs": verbs,
        "OUTCOMES": WORDS,
    }
    return made


TEMPLATES = _environment()


def page(
    request: Request, template: str, caller: Caller | None, *, status: int = 200, **shown: Any
) -> HTMLResponse:
    """A page, or a part of one (templates whose name begins with an underscore)."""
    about: dict[str, Any] = {
        "request": request,
        "caller": caller,
        "csrf": csrf_token(request),
        "with_query": lambda **changes: with_query(request, **changes),
    }
    about["parts"] = TEMPLATES.get_template("_parts.html").make_module(about)
    return HTMLResponse(TEMPLATES.get_template(template).render({**about, **shown}), status)
