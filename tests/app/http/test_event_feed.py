"""Many clients that wait for the same events: each gets every event once, and the database hardly notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.engine import make_url

from app.database import make_engine, transaction
from app.errors import RateLimited
from app.http.events import feed as event_feed
from app.http.events.feed import EventFeed, Stream
from app.ledger.event_tail import replay
from app.ledger.events import append_event
from app.ledger.jobs.jobs import cancel_job
from app.ledger.platform.keys import Scope as KeyScope
from app.ledger.platform.keys import issue_key, revoke
from app.ledger.transitions import lock_job
from app.tables.jobs import Job
from tests.factories import World, make_world
from tests.faults.proxy import Proxy

STREAMS = 100
SECONDS = 60  # until a test gives up


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> World:
    return make_world(database_url, tmp_path / "home")


class Statements:
    """Counts what an engine sends to its database."""

    def __init__(self, engine: Engine) -> None:
        self.count = 0
        event.listen(engine, "before_cursor_execute", self._seen)

    def _seen(self, *_: Any) -> None:
        self.count += 1


@asynccontextmanager
async def reader(engine: Engine) -> AsyncIterator[EventFeed]:
    feed = EventFeed(engine, streams_per_key=2)
    running = asyncio.create_task(feed.run())
    try:
        async with asyncio.timeout(SECONDS):
            yield feed
    finally:
        running.cancel()


def write(world: World, job_id: str, count: int = 1) -> None:
    for _ in range(count):
        with transaction(world.engine) as session:
            append_event(session, lock_job(session, job_id), "phase.started", {})


def end(world: World, job_id: str) -> None:
    with transaction(world.engine) as session:
        cancel_job(session, session.get_one(Job, job_id))


async def collect(feed: EventFeed, job_id: str, after: int, into: list[int], pause: float = 0) -> None:
    async for events in feed.follow(job_id, after, Stream("key")):
        into += [event.seq for event in events]
        await asyncio.sleep(pause)


async def until(true: Callable[[], bool]) -> None:
    """Bounded by the reader's timeout."""
    while not true():  # noqa: ASYNC110 - what it waits for is no event
        await asyncio.sleep(0.005)


def all_reached(got: list[list[int]], seq: int) -> bool:
    return all(into[-1] == seq for into in got)


def test_a_hundred_streams_cost_no_more_queries_than_one_reader(world: World) -> None:
    """Ten events reach a hundred streams: a thousand times. A query each would be a thousand."""
    engine = make_engine(world.settings.resolved_database_url())
    statements = Statements(engine)
    job_id = world.submit()
    got: list[list[int]] = [[] for _ in range(STREAMS)]

    async def main() -> None:
        async with reader(engine) as feed:
            streams = [asyncio.create_task(collect(feed, job_id, 0, into)) for into in got]
            first = world.job(job_id).events_written
            await until(lambda: feed.waiting == STREAMS)
            statements.count = 0
            for number in range(1, 11):
                await asyncio.to_thread(write, world, job_id)
                await until(partial(all_reached, got, first + number))
            assert 10 < statements.count < STREAMS
            await asyncio.to_thread(end, world, job_id)
            await asyncio.gather(*streams)
            assert feed.waiting == 0

    asyncio.run(main())
    assert got == [list(range(1, world.job(job_id).events_written + 1))] * STREAMS
    engine.dispose()


def test_every_stream_gets_every_event_once_in_order_wherever_it_begins(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come while events are written, from the start or from the middle; the slow ones fall behind."""
    monkeypatch.setattr(event_feed, "KEPT", 12)
    monkeypatch.setattr(event_feed, "BATCH", 5)
    jobs = [world.submit() for _ in range(2)]
    got: dict[tuple[str, int, int], list[int]] = {}

    async def main() -> None:
        async with reader(world.engine) as feed:
            streams, writers = [], []
            for number in range(12):
                writers += [asyncio.create_task(asyncio.to_thread(write, world, job, 5)) for job in jobs]
                for job in jobs:
                    after = 3 * number
                    into = got[job, number, after] = []
                    slow = 0.05 * (number % 3)
                    streams.append(asyncio.create_task(collect(feed, job, after, into, slow)))
                await asyncio.gather(*writers[-2:])
            for job in jobs:
                await asyncio.to_thread(end, world, job)
            await asyncio.gather(*streams)

    asyncio.run(main())
    for (job, _, after), seqs in got.items():
        assert seqs == list(range(after + 1, world.job(job).events_written + 1))


def test_a_wait_ends_with_the_event_or_with_its_time(world: World) -> None:
    job_id = world.submit()
    written = world.job(job_id).events_written

    async def main() -> list[int]:
        async with reader(world.engine) as feed:
            position, none = await asyncio.to_thread(replay, world.engine, job_id, written, 100)
            assert list(none) == []
            assert list(await feed.wait(job_id, written, position, 0.01)) == []
            waiting = asyncio.create_task(feed.wait(job_id, written, position, SECONDS))
            await until(lambda: feed.waiting == 1)
            await asyncio.to_thread(write, world, job_id)
            return [event.seq for event in await waiting]

    assert asyncio.run(main()) == [written + 1]


def test_streams_end_at_once_when_the_process_is_told_to_stop(world: World) -> None:
    job_id = world.submit()
    got: list[int] = []

    async def main() -> None:
        async with reader(world.engine) as feed:
            streams = [asyncio.create_task(collect(feed, job_id, 0, got)) for _ in range(3)]
            await until(lambda: feed.waiting == 3)
            feed.close()
            await asyncio.gather(*streams)
            await collect(feed, job_id, 0, got)  # who comes now is not kept either

    asyncio.run(main())
    assert not world.job(job_id).finished_at


def test_streams_outlive_a_database_that_is_gone_for_a_while(
    postgresql_database_url: str, tmp_path: Path
) -> None:
    world = make_world(postgresql_database_url, tmp_path / "home")
    url = make_url(postgresql_database_url)
    assert url.host is not None
    assert url.port is not None
    proxy = Proxy((url.host, url.port))
    engine = make_engine(url.set(port=proxy.port).render_as_string(hide_password=False))
    statements = Statements(engine)
    failures: list[Any] = []
    event.listen(engine, "handle_error", failures.append)
    job_id = world.submit()
    got: list[list[int]] = [[], []]

    async def main() -> None:
        async with reader(engine) as feed:
            streams = [asyncio.create_task(collect(feed, job_id, 0, into)) for into in got]
            await until(lambda: feed.waiting == 2)
            proxy.set("cut")
            await asyncio.to_thread(write, world, job_id, 3)
            await until(lambda: len(failures) > 1)  # the reader has met the outage more than once
            proxy.set("none")
            before = statements.count
            await until(lambda: statements.count > before)
            await asyncio.to_thread(end, world, job_id)
            await asyncio.gather(*streams)

    asyncio.run(main())
    assert got == [list(range(1, world.job(job_id).events_written + 1))] * 2
    engine.dispose()
    proxy.close()


def test_a_stream_ends_when_its_key_is_revoked_and_another_keys_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_feed, "KEYS_SECONDS", 0.0)
    job_id = world.submit()
    with transaction(world.engine) as session:
        other = issue_key(session, world.project_id, "other", [KeyScope.READ])[0].id

    async def follow(feed: EventFeed, key_id: str, ended: list[str]) -> None:
        with feed.stream_of(key_id) as stream:
            async for _ in feed.follow(job_id, 0, stream):
                pass
            ended.append(f"{key_id} revoked" if stream.revoked else f"{key_id} at its end")

    async def main() -> list[str]:
        ended: list[str] = []
        async with reader(world.engine) as feed, asyncio.TaskGroup() as tasks:
            for key_id in (world.key_id, other):
                tasks.create_task(follow(feed, key_id, ended))
            await until(lambda: feed.waiting == 2)
            await asyncio.to_thread(revoke_key, world, other)
            await until(lambda: feed.waiting == 1)
            await asyncio.to_thread(end, world, job_id)
        return ended

    assert asyncio.run(main()) == [f"{other} revoked", f"{world.key_id} at its end"]


def revoke_key(world: World, key_id: str) -> None:
    with transaction(world.engine) as session:
        revoke(session, key_id)


def test_a_key_may_hold_only_so_many_streams(world: World) -> None:
    async def main() -> None:
        async with reader(world.engine) as feed:
            with feed.stream_of("key_a"), feed.stream_of("key_a"):
                with pytest.raises(RateLimited, match="holds 2 streams"):
                    feed.check_room("key_a")
                feed.check_room("key_b")
            feed.check_room("key_a")

    asyncio.run(main())


def test_a_silent_stream_says_that_it_is_there_and_a_poll_is_not_ended_by_that(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_feed, "PING_SECONDS", 0.05)
    engine = make_engine(world.settings.resolved_database_url())
    job_id = world.submit()
    last = world.job(job_id).events_written

    async def main() -> None:
        async with reader(engine) as feed:
            told = feed.follow(job_id, last, Stream("key"))
            assert [list(await anext(told)) for _ in range(3)] == [[], [], []]
            position, _ = replay(engine, job_id, last, 1)
            polled = asyncio.create_task(feed.wait(job_id, last, position, SECONDS))
            await anext(told)
            await anext(told)
            await asyncio.to_thread(write, world, job_id)
            assert [event.seq for event in await polled] == [last + 1]
            await told.aclose()

    asyncio.run(main())
