"""One reader per API process serves everybody who waits for events, so 100 streams cost as much as one.

Who waits reads what is on record by itself, once. From there on the reader tells it: each tick it asks how
far the logs of all jobs that somebody waits for have come, and hands what is new to everybody at once.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from functools import partial
from time import monotonic

import anyio
import structlog
from anyio import CapacityLimiter, to_thread
from sqlalchemy import Engine

from app.database import reading
from app.errors import NotFound, RateLimited
from app.http.events.together import Together
from app.ledger.event_tail import News, Position, news_since, replay
from app.ledger.platform.keys import valid_keys
from app.tables.jobs import Event, Job
from app.turns import give_turn_back

TICK_SECONDS = 0.25  # how late somebody who waits may learn of an event
OUTAGE_SECONDS = 1.0  # between two tries while the database does not answer
KEYS_SECONDS = 5.0  # how late a stream may learn that its key is revoked or has expired
BATCH = 200  # events per read of what is on record
PING_SECONDS = 15.0  # of silence, after which a stream says that it is there
KEPT = 500  # latest events of a job that are at hand; who is further behind reads them from the database

log = structlog.get_logger()


class Watch:
    """The live end of one job's log, shared by all who wait for it."""

    def __init__(self, position: Position) -> None:
        self.seq = position.seq  # of the last event that is known here
        self.ended = position.ended
        self.watchers = 0
        self._latest: deque[Event] = deque(maxlen=KEPT)
        self._moved = anyio.Event()

    def events_after(self, seq: int) -> list[Event] | None:
        """Return the events with a greater seq, in order; None if some of them are no longer in memory."""
        if seq < self.seq - len(self._latest):
            return None
        return [event for event in self._latest if event.seq > seq]

    def add(self, event: Event) -> None:
        """Takes the log's next event. Any other was asked for on behalf of an earlier watch of the job."""
        if event.seq == self.seq + 1:
            self._latest.append(event)
            self.seq = event.seq

    def wake(self) -> None:
        self._moved.set()
        self._moved = anyio.Event()

    async def wait(self) -> None:
        """Until something has changed."""
        await self._moved.wait()


class Stream:
    """A client that follows a log for hours. The stream ends when its key does."""

    def __init__(self, key_id: str) -> None:
        self.key_id = key_id
        self.revoked = False


class EventFeed:
    """Made once per process. `run` is its reader, `follow` what a stream iterates over."""

    def __init__(self, engine: Engine, streams_per_key: int) -> None:
        self.closing = False  # the process has been told to stop: nobody waits any longer
        self._streams_per_key = streams_per_key
        self._streams: dict[str, set[Stream]] = {}  # by the key's id
        self._keys_at = 0.0  # monotonic; when the keys were looked at
        self._engine = engine
        self._replays = Together(partial(replay, engine))
        self._own_jobs = Together(partial(_is_job_of, engine))
        self._watches: dict[str, Watch] = {}
        self._wanted = anyio.Event()  # somebody waits

    @property
    def waiting(self) -> int:
        """How many wait for an event right now."""
        return sum(watch.watchers for watch in self._watches.values())

    async def check_own_job(self, project_id: str, job_id: str) -> None:
        """Raises NotFound. For streams, which can no longer answer 404 once they have begun."""
        give_turn_back()  # hundreds of them share one look at the database
        if not await self._own_jobs.ask(project_id, job_id):
            raise NotFound(f"There is no job {job_id}.")

    def check_room(self, key_id: str) -> None:
        """Raises RateLimited where the key holds as many streams of this process as it may."""
        if len(self._streams.get(key_id, ())) >= self._streams_per_key:
            raise RateLimited(
                f"This key holds {self._streams_per_key} streams open. Close one, or follow several jobs by "
                "GET /v1/jobs/{id}/events with `wait`.",
                code="too_many_streams",
            )

    @contextmanager
    def stream_of(self, key_id: str) -> Iterator[Stream]:
        """Register a stream for as long as the block runs."""
        stream = Stream(key_id)
        self._streams.setdefault(key_id, set()).add(stream)
        try:
            yield stream
        finally:
            self._streams[key_id].discard(stream)
            if not self._streams[key_id]:
                del self._streams[key_id]

    async def follow(self, job_id: str, after: int, stream: Stream) -> AsyncGenerator[Sequence[Event]]:
        """Every event with seq > after, once and in order, as they come; ends with the job, the key or the
        process. An empty sequence where none came for PING_SECONDS."""
        while not self.closing and not stream.revoked:
            position, events = await self._replays.ask(job_id, after, BATCH)
            if events:
                yield events
                after = events[-1].seq
            if len(events) == BATCH:
                continue
            if position.ended:
                return
            with self._watching(job_id, position) as watch:
                async with aclosing(self._live(watch, after, stream)) as live:
                    async for events in live:
                        yield events
                        after = events[-1].seq if events else after
                if watch.ended and after >= watch.seq:
                    return

    async def wait(self, job_id: str, after: int, position: Position, seconds: float) -> Sequence[Event]:
        """The next events with seq > after, none if none comes within so many seconds.

        `position` is of a replay that has found none.
        """
        with anyio.move_on_after(seconds), self._watching(job_id, position) as watch:
            async with aclosing(self._live(watch, after)) as live:
                async for events in live:
                    return events
        return []

    async def run(self) -> None:
        """Run the reader. It queries nothing while nobody waits, and survives a database outage."""
        limiter, failing = CapacityLimiter(1), False
        while True:
            await self._somebody_waits()
            known = {job_id: watch.seq for job_id, watch in self._watches.items()}
            try:
                look = to_thread.run_sync(
                    news_since, self._engine, known, limiter=limiter, abandon_on_cancel=True
                )
                pause = self._tell(known, await look)
                if self._streams and monotonic() > self._keys_at + KEYS_SECONDS:
                    ids = list(self._streams)
                    valid = await to_thread.run_sync(_valid, self._engine, ids, limiter=limiter)
                    self._end_streams(set(ids) - valid)
                    self._keys_at = monotonic()
            except Exception as failure:  # noqa: BLE001 - whatever it is, nobody must wait for a dead reader
                if not failing:
                    log.warning("event_reader_failed", error=type(failure).__name__)
                failing, pause = True, OUTAGE_SECONDS
            else:
                failing = False
            await anyio.sleep(pause)

    def _end_streams(self, key_ids: set[str]) -> None:
        for stream in [stream for key_id in key_ids for stream in self._streams.get(key_id, ())]:
            stream.revoked = True
        if key_ids:
            log.info("streams_ended", keys=len(key_ids))
            self._wake_all()

    def close(self) -> None:
        """End every stream and every wait, now."""
        self.closing = True
        self._wake_all()

    def _wake_all(self) -> None:
        for watch in self._watches.values():
            watch.wake()

    async def _somebody_waits(self) -> None:
        if not self._watches:
            self._wanted = anyio.Event()
            await self._wanted.wait()

    async def _live(
        self, watch: Watch, after: int, stream: Stream | None = None
    ) -> AsyncGenerator[Sequence[Event]]:
        """What the reader brings, until the job has ended or more is missing than is at hand; nothing, from
        time to time, to a stream."""
        while not self.closing and not (stream is not None and stream.revoked):
            events = watch.events_after(after)
            if events is None or (watch.ended and not events):
                return
            if events:
                yield events
                after = events[-1].seq
            else:
                silence = math.inf if stream is None else PING_SECONDS
                with anyio.move_on_after(silence) as waiting:
                    await watch.wait()
                if waiting.cancelled_caught:
                    yield []

    @contextmanager
    def _watching(self, job_id: str, position: Position) -> Iterator[Watch]:
        give_turn_back()
        watch = self._watches.setdefault(job_id, Watch(position))
        watch.watchers += 1
        self._wanted.set()
        try:
            yield watch
        finally:
            watch.watchers -= 1
            if watch.watchers == 0:
                del self._watches[job_id]

    def _tell(self, known: Mapping[str, int], news: News) -> float:
        """Distribute what was read; returns the seconds until the next query."""
        for event in news.events:
            if event.job_id in self._watches:
                self._watches[event.job_id].add(event)
        told = {event.job_id for event in news.events}
        pause = TICK_SECONDS
        for job_id in known.keys() & self._watches.keys():
            watch = self._watches[job_id]
            position = news.positions.get(job_id, Position(watch.seq, ended=True))
            watch.ended = position.ended and watch.seq >= position.seq
            if watch.ended or job_id in told:
                watch.wake()
            if watch.seq < position.seq:
                pause = 0.0
        return pause


def _is_job_of(engine: Engine, project_id: str, job_id: str) -> bool:
    with reading(engine) as session:
        job = session.get(Job, job_id)
        return job is not None and job.project_id == project_id


def _valid(engine: Engine, key_ids: Sequence[str]) -> set[str]:
    with reading(engine) as session:
        return valid_keys(session, key_ids)
