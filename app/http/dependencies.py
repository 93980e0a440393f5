"""What routes are given: the database, the artifacts, the settings. Made once per process, at its start."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Annotated, Any

import httpx2
from fastapi import Depends, Header, Query, Request
from sqlalchemy import Engine

from app.errors import BadRequest
from app.http.events.feed import EventFeed
from app.intake import slots
from app.settings import Settings
from app.storage import Storage

# Async although none of them waits: FastAPI would ask a thread for each of the others, which costs as much as
# a query.


async def _engine(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def _storage(request: Request) -> Storage:
    storage: Storage = request.app.state.storage
    return storage


async def _offered_models(request: Request) -> frozenset[str]:
    offered: frozenset[str] = request.app.state.offered_models
    return offered


async def _upload_slots(request: Request) -> slots.ProjectSlots:
    found: slots.ProjectSlots = request.app.state.upload_slots
    return found


async def _dry_run_slots(request: Request) -> slots.ProjectSlots:
    found: slots.ProjectSlots = request.app.state.dry_run_slots
    return found


async def _job_slots(request: Request) -> slots.ProjectSlots:
    found: slots.ProjectSlots = request.app.state.job_slots
    return found


async def _servers(request: Request) -> httpx2.AsyncClient:
    client: httpx2.AsyncClient = request.app.state.servers
    return client


async def _event_feed(request: Request) -> EventFeed:
    feed: EventFeed = request.app.state.event_feed
    return feed


Db = Annotated[Engine, Depends(_engine)]
Config = Annotated[Settings, Depends(_settings)]
Artifacts = Annotated[Storage, Depends(_storage)]
Servers = Annotated[httpx2.AsyncClient, Depends(_servers)]
OfferedModels = Annotated[frozenset[str], Depends(_offered_models)]  # ids on the allow-list
UploadSlots = Annotated[slots.ProjectSlots, Depends(_upload_slots)]
DryRunSlots = Annotated[slots.ProjectSlots, Depends(_dry_run_slots)]
JobSlots = Annotated[slots.ProjectSlots, Depends(_job_slots)]
Feed = Annotated[EventFeed, Depends(_event_feed)]


Seq = Annotated[int, Query(ge=0, lt=2**31, description="The seq of the last event seen.")]


async def last_event_id(last_event_id: Annotated[str | None, Header()] = None, after: Seq = 0) -> int:
    """Return the event to continue after; reconnecting browsers send this header by themselves."""
    if last_event_id is None:
        return after
    if not (last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < 10):
        raise BadRequest("Last-Event-ID must be the id of an event of this stream: a number.")
    return int(last_event_id)


LastEventId = Annotated[int, Depends(last_event_id)]


def route_path(scope: MutableMapping[str, Any]) -> str | None:
    """The path of the route that answers, such as /v1/jobs/{job_id}; None where there is none."""
    path = getattr(scope.get("route"), "path", None)
    before = scope.get(
        "app_root_path", ""
    )  # what a proxy cuts off; root_path adds where the dashboard is mounted
    return None if path is None else scope.get("root_path", "").removeprefix(before) + path
