"""A short way for polls of jobs: most requests that this API gets.

Key and job are looked up for all polls at once that came within LOOK_SECONDS: two queries, however many they
are, made after the last of them came, so a revoked key is refused and a new status is told as ever. What
cannot be told from a view of the job goes the long way, through the route: every error, for one.
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
from app.http.rate_limits import Allowance, RateLimits
from app.ledger.jobs.lists import find_jobs
from app.ledger.platform.keys import Caller, authenticate_all
from app.ledger.platform.keys import Scope as KeyScope
from app.tables.jobs import Job

LOOK_SECONDS = 0.03  # from one look to the next; the first poll after a pause does not wait
MAX_MADE = 3  # views that a look makes anew, a dozen queries each; those who poll other jobs wait for them

_PATH = re.compile(r"/v1/jobs/(job_[0-9a-z]{26})")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Poll:
    job_id: str
    key: str
    if_none_match: str | None


@dataclass(frozen=True, slots=True)
class Told:
    caller: Caller
    allowance: Allowance
    view: View


@dataclass
class Look:
    """Polls that are looked up together."""

    polls: list[Poll] = field(default_factory=list)
    found: dict[Poll, Told] = field(default_factory=dict)
    done: anyio.Event = field(default_factory=anyio.Event)


class Looks:
    """Made once per process; `run` makes one look after the other while there are polls."""

    def __init__(self, engine: Engine, polled: PolledJobs, limits: RateLimits) -> None:
        self._engine, self._polled, self._limits = engine, polled, limits
        self._next = Look()
        self._wanted = anyio.Event()

    async def tell(self, poll: Poll) -> Told | None:
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

    def _look(self, polls: Sequence[Poll]) -> dict[Poll, Told]:
        found: dict[Poll, Told] = {}
        began = monotonic()  # all of them came before
        with reading(self._engine) as session:
            callers = authenticate_all(session, {poll.key for poll in polls})
            jobs = find_jobs(session, {poll.job_id for poll in polls}) if callers else {}
            rightful = [
                (poll, *pair) for poll in polls if (pair := _rightful(poll, callers, jobs)) is not None
            ]
        since = {poll: began if poll.if_none_match is None else None for poll in polls}
        stale = {job.id: job for poll, _, job in rightful if self._polled.fresh(job, since[poll]) is None}
        for job in islice(stale.values(), MAX_MADE):
            self._polled.view(self._engine, job, polled=False)
        for poll, caller, job in rightful:
            view = self._polled.fresh(job, since[poll])
            if view is not None and (allowance := self._limits.hit(caller.key_id)).allowed:
                found[poll] = Told(caller, allowance, view)
        return found


def _rightful(
    poll: Poll, callers: Mapping[str, Caller], jobs: Mapping[str, Job]
) -> tuple[Caller, Job] | None:
    """Who polls and what, if they may."""
    caller, job = callers.get(poll.key), jobs.get(poll.job_id)
    if caller is None or job is None or job.project_id != caller.project_id:
        return None
    return (caller, job) if caller.may(KeyScope.READ) else None


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
        scope["state"] |= {"caller": found.caller, "allowance": found.allowance}
        await poll_answer(found.view, poll.if_none_match)(scope, receive, send)


def route_of(app: FastAPI, path: str, method: str) -> APIRoute:
    """The route that answers this, by which its requests are logged."""
    routes = (route for route in app.routes if isinstance(route, APIRoute))
    return next(route for route in routes if route.path == path and method in route.methods)


def _poll(scope: Scope) -> Poll | None:
    """What the request asks, if it is a plain poll with a key."""
    if scope["type"] != "http" or scope["method"] != "GET" or scope["query_string"]:
        return None
    match = _PATH.fullmatch(scope["path"])
    if match is None:
        return None
    headers = Headers(scope=scope)
    if_none_match, sent = headers.get("if-none-match"), headers.getlist("authorization")
    if len(sent) != 1:
        return None
    scheme, _, key = sent[0].partition(" ")
    return Poll(match[1], key, if_none_match) if scheme.lower() == "bearer" else None
