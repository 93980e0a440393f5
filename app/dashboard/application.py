"""The dashboard as an application of its own under /dashboard: its errors are pages, not JSON.

Every page calls the use cases that the routes of /v1 call and shows what they answer, so it can show
nothing that the API cannot.
"""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware

from app.dashboard import base_models, front, oidc, platform, projects, search, shares, sign_in, webhooks
from app.dashboard.data import (
    datasets,
    draft_prompt_set,
    new_dataset,
    prompt_sets,
    verifiers,
    write_prompt_set,
)
from app.dashboard.jobs import compare, fork_job, job, job_list, new_job, preflight
from app.dashboard.middleware import BlankFields, SecurityHeaders
from app.dashboard.rendering import page, sign_in_url
from app.dashboard.results import (
    adapters,
    answers,
    candidates,
    curve,
    example_history,
    example_progress,
    files,
    held_out,
    job_adapters,
    playground,
    rationales,
    review,
    studies,
    thoughts,
)
from app.dashboard.static_files import StaticFiles
from app.errors import Problem, Unauthorized
from app.http.auth import check_scopes
from app.http.problems import answer_nobody, as_problem, when_again
from app.http.router import add_routes

PAGES = (
    new_dataset,
    datasets,
    write_prompt_set,
    draft_prompt_set,
    prompt_sets,
    verifiers,
    webhooks,
    projects,
    base_models,
    platform,
    front,
    search,
    sign_in,
    oidc,
    job_list,
    preflight,
    new_job,
    fork_job,
    shares,
    files,
    job,
    curve,
    rationales,
    review,
    answers,
    held_out,
    candidates,
    thoughts,
    example_progress,
    example_history,
    job_adapters,
    adapters,
    studies,
    playground,
    compare,
)
PACKED = (*DEFAULT_EXCLUDED_CONTENT_TYPES, "application/octet-stream", "application/x-tar")  # weights
PUBLIC = frozenset({"/sign-in", "/oidc/start", "/oidc/callback", "/static"})


def create_dashboard(api: FastAPI) -> FastAPI:
    """Shares the API's database, storage and settings."""
    dashboard = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    dashboard.router.redirect_slashes = False
    dashboard.state = api.state
    for kind in (Problem, RequestValidationError, HTTPException, Exception):
        dashboard.add_exception_handler(kind, _refused)
    answer_nobody(dashboard)
    for module in PAGES:
        add_routes(dashboard, module.router)
    dashboard.mount("/static", StaticFiles())
    check_scopes(dashboard, PUBLIC)
    dashboard.add_middleware(BlankFields)
    dashboard.add_middleware(GZipMiddleware, minimum_size=1000, exclude_content_types=PACKED)
    dashboard.add_middleware(SecurityHeaders)
    return dashboard


def _refused(request: Request, failure: Exception) -> Response:
    """Any error as a page, or as the part of one that htmx asked for."""
    problem = as_problem(failure)
    if isinstance(problem, Unauthorized):
        if request.headers.get("hx-request") is None:
            return RedirectResponse(sign_in_url(request), status_code=303)
        return Response(status_code=401, headers={"HX-Redirect": sign_in_url(request)})
    partial = request.headers.get("hx-request") is not None
    name = "_problem.html" if partial else "problem.html"
    caller = getattr(request.state, "caller", None)  # whom admission has found: the navigation stays
    response = page(request, name, caller, problem=problem, status=problem.status)
    response.headers.update(when_again(problem))
    return response
