"""Full collections come when the process chooses, and nothing is kept for ever for it."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from app.http import collector
from app.http.collector import collect_in_its_own_time, pause_after


class Cycle:
    """Something that only a collection ends."""

    def __init__(self) -> None:
        self.itself = self


@contextmanager
def full_collections() -> Iterator[list[int]]:
    made: list[int] = []

    def count(phase: str, info: dict[str, int]) -> None:
        if phase == "stop" and info["generation"] == 2:
            made.append(info["collected"])

    gc.callbacks.append(count)
    try:
        yield made
    finally:
        gc.callbacks.remove(count)


def many_objects() -> list[list[int]]:
    """As many as a thousand streams hold, some of which Python would look through again and again."""
    return [[number] for number in range(3 * len(gc.get_objects()))]


def test_python_would_look_through_everything_as_many_objects_are_made() -> None:
    with full_collections() as made:
        many_objects()
    assert made


def test_many_objects_are_made_without_a_full_collection() -> None:
    async def main() -> None:
        running = asyncio.create_task(collect_in_its_own_time())
        await asyncio.sleep(0)
        with full_collections() as made:
            many_objects()
        assert made == []
        running.cancel()

    before = gc.get_threshold()
    asyncio.run(main())
    assert gc.get_threshold() == before


def test_an_old_cycle_ends_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "LEAST_SECONDS", 0.01)

    async def main() -> None:
        old = Cycle()
        gc.collect()  # it is of the oldest generation now
        gone = weakref.ref(old)
        running = asyncio.create_task(collect_in_its_own_time())
        del old
        async with asyncio.timeout(60):
            while gone() is not None:  # noqa: ASYNC110 - what it waits for is no event
                await asyncio.sleep(0.005)
        running.cancel()

    asyncio.run(main())


def test_collections_that_take_long_are_rare() -> None:
    assert pause_after(0.0001) == collector.LEAST_SECONDS
    assert pause_after(0.15) == pytest.approx(150)
