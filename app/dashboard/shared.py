"""/shared/{id}/{secret}: one job's report, for whoever has the link, without a key."""

from __future__ import annotations

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse

from app.dashboard.rendering import page
from app.errors import NotFound, Problem, RateLimited
from app.http.admission import Keys, client_address
from app.reports.page import page as report_page
from app.results.quality.shares import PATH, read_shared_report

ADDRESS = f"{PATH}/{{share_id}}/{{secret}}"
NOWHERE = (
    "This link leads to no report. It may have expired or been revoked, or the job was deleted: ask whoever "
    "sent it for another."
)
HEADERS = {
    "Referrer-Policy": "no-referrer",  # the address is the key
    "X-Robots-Tag": "noindex, nofollow, noarchive",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
REPORT = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
REFUSAL = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; frame-ancestors 'none'"

log = structlog.get_logger()


def add_shared(api: FastAPI) -> None:
    """Adds the address of shared reports, outside of /dashboard, whose cookie it is never sent."""
    api.add_route(ADDRESS, shared, include_in_schema=False)


async def shared(request: Request) -> Response:
    share_id, secret = request.path_params["share_id"], request.path_params["secret"]
    keys: Keys = request.app.state.keys
    try:
        keys.count_link(client_address(request.scope))
        found = await run_in_threadpool(read_shared_report, request.app.state.engine, share_id, secret)
        if found is None:
            raise NotFound(NOWHERE)
    except (NotFound, RateLimited) as problem:
        return _refused(request, problem)
    log.info("shared_report_opened", share_id=share_id)
    return HTMLResponse(report_page(found), headers={**HEADERS, "Content-Security-Policy": REPORT})


def _refused(request: Request, problem: Problem) -> Response:
    response = page(request, "shared_nowhere.html", None, problem=problem, status=problem.status)
    response.headers.update({**HEADERS, "Content-Security-Policy": REFUSAL})
    return response
