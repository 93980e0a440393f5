"""The HTTP application; `python -m app.server` serves it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
from anyio import create_task_group, sleep, to_thread
from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from app.broker import Broker
from app.dashboard.application import create_dashboard
from app.dashboard.documentation import add_guide
from app.dashboard.reference import DOCS, add_reference
from app.dashboard.session import PATH
from app.dashboard.shared import ADDRESS, add_shared
from app.database import make_engine
from app.http import problems
from app.http.admission import SIGN_IN, Admission, Keys
from app.http.auth import PUBLIC, check_scopes
from app.http.collector import collect_in_its_own_time, keep_what_is_loaded
from app.http.events.feed import EventFeed
from app.http.given_up import GivenUp
from app.http.rate_limits import RateLimitHeaders, RateLimits, Strangers
from app.http.request_log import RequestLog
from app.http.router import add_routes
from app.http.shutdown import when_told_to_stop
from app.http.turns import Turns
from app.http.uploads import BodyLimit
from app.intake.slots import ProjectSlots
from app.jobs.polled import PolledJobs
from app.ledger.data.base_models import BadModelsFile, register_models
from app.log import configure_logging
from app.openapi.document import document
from app.platform.oidc import Provider
from app.results.completions import new_client
from app.routes.data import (
    dataset_previews,
    dataset_statistics,
    datasets,
    models,
    openai_files,
    presets,
    prompt_drafts,
    prompt_preview,
    prompt_sets,
    verifiers,
)
from app.routes.jobs import events, job_verbs, jobs, logs, openai_fine_tuning, probes, search, shares
from app.routes.platform import (
    api_keys,
    audit,
    base_models,
    data_retention,
    health,
    metrics,
    projects,
    quotas,
    sign_in,
    webhooks,
    workers,
)
from app.routes.results import (
    adapters,
    advice,
    answers,
    candidates,
    curves,
    example_progress,
    exports,
    iterations,
    openai_completions,
    overrides,
    promotions,
    rationales,
    report,
    retention,
    review_queue,
    studies,
    thoughts,
    trials,
)
from app.sandbox import use_service
from app.settings import Settings
from app.storage import Storage
from app.tracing.requests import Traces
from app.tracing.start import start_tracing
from app.turns import Neighbours

ROUTES = (
    health,
    metrics,
    models,
    dataset_previews,
    datasets,
    dataset_statistics,
    prompt_drafts,
    prompt_sets,
    prompt_preview,
    presets,
    verifiers,
    jobs,
    job_verbs,
    probes,
    events,
    logs,
    iterations,
    curves,
    rationales,
    overrides,
    review_queue,
    answers,
    search,
    candidates,
    thoughts,
    example_progress,
    exports,
    report,
    shares,
    advice,
    adapters,
    promotions,
    studies,
    webhooks,
    api_keys,
    audit,
    projects,
    data_retention,
    quotas,
    base_models,
    trials,
    retention,
    workers,
    sign_in,
    openai_files,
    openai_fine_tuning,
    openai_completions,
)
# Paths whose bodies may be longer than JSON's.
UPLOADS = frozenset(
    {
        "/v1/datasets",
        "/v1/dataset-previews",
        "/v1/files",
        "/dashboard/datasets/new",
        "/dashboard/datasets/new/look",
    }
)
FOLLOW_SECONDS = 2.0  # between two looks at the allow-list of base models
POOL_SIZE = 15  # connections; three times as many at most, for the 40 threads that run sync routes

log = structlog.get_logger()


def create_app(settings: Settings | None = None) -> FastAPI:
    """The API over a migrated database. Raises UndeclaredScope if a route does not say who may call it."""
    configure_logging()
    chosen = settings or Settings()
    app = FastAPI(title="STaR as a service", version="1", lifespan=_lifespan, docs_url=None, redoc_url=None)
    app.router.redirect_slashes = False  # its redirects name the host that a request claims
    app.state.settings = chosen
    use_service(chosen.sandbox_url)
    problems.install(app)
    for module in ROUTES:
        add_routes(app, module.router)
    add_reference(app)
    add_shared(app)
    for path in ("/", PATH):
        app.add_route(path, _to_the_dashboard, include_in_schema=False)
    check_scopes(app, PUBLIC | SIGN_IN | {DOCS, ADDRESS, "/", PATH})
    app.mount(PATH, create_dashboard(app))
    add_guide(app)
    app.openapi = lambda: document(app, PUBLIC)  # type: ignore[method-assign]  # how FastAPI means it
    app.add_middleware(GivenUp)
    app.add_middleware(BodyLimit, upload_paths=UPLOADS, settings=chosen)
    app.state.neighbours = neighbours = Neighbours()
    app.add_middleware(Turns, at_once=chosen.requests_at_once, without=UPLOADS, neighbours=neighbours)
    app.add_middleware(Admission)
    app.add_middleware(RateLimitHeaders)
    app.add_middleware(RequestLog)  # added last: outermost
    if chosen.traces != "off":
        app.add_middleware(Traces)
    return app


async def _to_the_dashboard(_: Request) -> Response:
    return RedirectResponse(f"{PATH}/", status_code=307)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings: Settings = app.state.settings
    end_tracing = start_tracing(settings, "api")
    engine = make_engine(settings.resolved_database_url(), pool_size=POOL_SIZE)
    try:
        app.state.engine = engine
        neighbours: Neighbours = app.state.neighbours
        app.state.upload_slots = ProjectSlots(settings.uploads_at_once, neighbours, by_steps=True)
        app.state.dry_run_slots = ProjectSlots(settings.dry_runs_at_once, neighbours)
        app.state.job_slots = ProjectSlots(settings.jobs_made_at_once, neighbours)
        named = "broker_url" in settings.model_fields_set
        app.state.broker = Broker(settings.broker_url if named else None)
        app.state.storage = Storage(settings.resolved_storage_url(), settings.storage_link_seconds)
        app.state.identity_provider = Provider(settings) if settings.oidc_issuer else None
        app.state.offered_models = _offer_models(engine, settings)
        app.state.event_feed = feed = EventFeed(engine, settings.streams_per_key)
        app.state.keys = Keys(engine, RateLimits(settings), Strangers(settings))
        app.state.polled_jobs = polled = PolledJobs(engine, neighbours)
        app.state.servers = servers = new_client()
        async with create_task_group() as tasks:
            tasks.start_soon(feed.run)
            tasks.start_soon(polled.run)
            tasks.start_soon(_follow_the_allow_list, app)
            keep_what_is_loaded()
            tasks.start_soon(collect_in_its_own_time)
            with when_told_to_stop(feed.close):
                yield
            tasks.cancel_scope.cancel()
        await servers.aclose()
    finally:
        engine.dispose()
        end_tracing()


async def _follow_the_allow_list(app: FastAPI) -> None:
    """Offer what is added while the API runs. A list that cannot be used changes nothing, and is logged."""
    settings: Settings = app.state.settings
    seen = _changed_at(settings.models_file)
    while True:
        await sleep(FOLLOW_SECONDS)
        now = _changed_at(settings.models_file)
        if now is None or now == seen:
            continue
        seen = now
        try:
            app.state.offered_models = await to_thread.run_sync(_offer_models, app.state.engine, settings)
        except (BadModelsFile, SQLAlchemyError, OSError, ValueError) as problem:  # files on their way, too
            log.warning("allow_list_not_followed", error=str(problem))


def _changed_at(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def _offer_models(engine: Engine, settings: Settings) -> frozenset[str]:
    """Ids on the allow-list. A first start may go on without one; nobody can run a job then."""
    if "models_file" not in settings.model_fields_set and not settings.models_file.exists():
        log.warning("no_models", models_file=str(settings.models_file))
        return frozenset()
    offered = register_models(engine, settings.models_file, settings.home / "model-hashes.json")
    log.info("models_registered", models=sorted(offered))
    return offered
