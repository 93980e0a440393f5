"""A short way for polls of jobs: most requests that this API gets.

Jobs are looked up for all polls at once that came within LOOK_SECONDS: one query, however many they are,
made after the last of them came, so a new status is told as ever. Who polls has been decided before, as for
every request. What cannot be told from a view of the job goes the long way, through the route: every error,
for one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from time import monotonic

import anyio
import structlog
from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI
from fastapi.routing import APIRoute
from sqlalchemy import Engine
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.database import reading
from app.http.polled_jobs import PolledJobs, View, poll_answer
from app.ledger.jobs.lists import find_jobs
from app.ledger.platform.keys import Caller
from app.ledger.platform.keys import Scope as KeyScope
from app.tables.jobs import Job

LOOK_SECONDS = 0.03  # from one look to the next; the first poll after a pause does not wait
MAX_MADE = 3  # views that a look makes anew, a dozen queries each; those who poll other jobs wait for them

_PATH = re.compile(r"/v1/jobs/(job_[0-9a-z]{26})")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Poll:
    job_id: str
    caller: Caller
    if_none_match: str | None


@dataclass
class Look:
    """Polls that are looked up together."""

    polls: list[Poll] = field(default_factory=list)
    found: dict[Poll, View] = field(default_factory=dict)
    done: anyio.Event = field(default_factory=anyio.Event)


class Looks:
    """Made once per process; `run` makes one look after the other while there are polls."""

    def __init__(self, engine: Engine, polled: PolledJobs) -> None:
        self._engine, self._polled = engine, polled
        self._next = Look()
        self._wanted = anyio.Event()

    async def tell(self, poll: Poll) -> View | None:
        """None: it must go the long way."""
        look = self._next
        look.polls.append(poll)
        self._wanted.set()
        await look.done.wait()
        return look.found.get(poll)

    async def run(self) -> None:
        limiter = CapacityLimiter(1)
        while True:
            await self._wanted.wait()
            look, self._next, self._wanted = self._next, Look(), anyio.Event()
            try:
                look.found = await to_thread.run_sync(
                    self._look, look.polls, limiter=limiter, abandon_on_cancel=True
                )
            except Exception as failure:  # noqa: BLE001 - the long way says what is wrong
                log.warning("poll_look_failed", error=type(failure).__name__)
            finally:
                look.done.set()
            await anyio.sleep(LOOK_SECONDS)

    def _look(self, polls: Sequence[Poll]) -> dict[Poll, View]:
        began = monotonic()  # all of them came before
        with reading(self._engine) as session:
            jobs = find_jobs(session, {poll.job_id for poll in polls})
            rightful = [(poll, job) for poll in polls if (job := _rightful(poll, jobs)) is not None]
        since = {poll: began if poll.if_none_match is None else None for poll in polls}
        stale = {job.id: job for poll, job in rightful if self._polled.fresh(job, since[poll]) is None}
        for job in islice(stale.values(), MAX_MADE):
            self._polled.view(self._engine, job, polled=False)
        views = {poll: self._polled.fresh(job, since[poll]) for poll, job in rightful}
        return {poll: view for poll, view in views.items() if view is not None}


def _rightful(poll: Poll, jobs: Mapping[str, Job]) -> Job | None:
    """What is polled, if the caller may see it."""
    job = jobs.get(poll.job_id)
    if job is None or job.project_id != poll.caller.project_id or not poll.caller.may(KeyScope.READ):
        return None
    return job


class PollLane:
    """ASGI middleware, innermost: what it answers is logged and limited as if the route had."""

    def __init__(self, app: ASGIApp, route: APIRoute) -> None:
        self.app, self._route = app, route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        poll = _poll(scope)
        found = None if poll is None else await scope["app"].state.looks.tell(poll)
        if poll is None or found is None:
            await self.app(scope, receive, send)
            return
        scope["route"], scope["path_params"] = self._route, {"job_id": poll.job_id}
        await poll_answer(found, poll.if_none_match)(scope, receive, send)


def route_of(app: FastAPI, path: str, method: str) -> APIRoute:
    """The route that answers this, by which its requests are logged."""
    routes = (route for route in app.routes if isinstance(route, APIRoute))
    return next(route for route in routes if route.path == path and method in route.methods)


def _poll(scope: Scope) -> Poll | None:
    """What the request asks, if it is a plain poll of somebody who is admitted."""
    if scope["type"] != "http" or scope["method"] != "GET" or scope["query_string"]:
        return None
    match = _PATH.fullmatch(scope["path"])
    if match is None:
        return None
    caller, refusal = scope["state"].get("caller"), scope["state"].get("refusal")
    if caller is None or refusal is not None:
        return None
    return Poll(match[1], caller, Headers(scope=scope).get("if-none-match"))
