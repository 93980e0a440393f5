"""One call for all who ask the same at the same moment."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread

CALLS = 2  # at once
Found = TypeVar("Found")


@dataclass
class _Asked(Generic[Found]):
    """A call that is about to be made, for all who ask for it until then."""

    done: anyio.Event = field(default_factory=anyio.Event)
    found: Found | None = None
    problem: Exception | None = None


class Together(Generic[Found]):
    """Answers who ask the same at the same moment with one call in a thread, made after they asked: a
    thousand streams that are opened at once cost a few queries, and no thread each. `turn`, given the same
    arguments, is held while a call waits and is made.
    """

    def __init__(
        self,
        call: Callable[..., Found],
        turn: Callable[..., AbstractAsyncContextManager[None]] = lambda *_: nullcontext(),
    ) -> None:
        self._call, self._turn = call, turn
        self._asked: dict[tuple[Any, ...], _Asked[Found]] = {}
        self._turns, self._threads = CapacityLimiter(CALLS), CapacityLimiter(CALLS)

    async def ask(self, *key: Any) -> Found:
        """What the call finds for these arguments, or its exception."""
        while True:
            asked = self._asked.get(key)
            if asked is None:
                return await self._make(key)
            await asked.done.wait()
            if asked.problem is not None:
                raise asked.problem
            if asked.found is not None:
                return asked.found  # else whoever made the call has gone

    async def _make(self, key: tuple[Any, ...]) -> Found:
        asked = self._asked[key] = _Asked[Found]()
        try:
            async with self._turn(*key), self._turns:
                del self._asked[key]  # who comes from here on may want to know what happened since
                asked.found = await to_thread.run_sync(partial(self._call, *key), limiter=self._threads)
        except Exception as problem:
            asked.problem = problem
            raise
        finally:
            if self._asked.get(key) is asked:
                del self._asked[key]
            asked.done.set()
        return asked.found
