"""The SDK in an event loop: `async with AsyncStarClient() as star: await star.jobs.get(...)`."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any

from star_client.client import StarClient

_END = object()
CALLS_AT_ONCE = 256  # a thread each, which waits for the server; the others wait for a thread


class AsyncStarClient:
    """StarClient with the same resources and methods. Each call runs in a thread, so the loop goes on.

    What returns one object is awaited; what returns many is iterated: `async for event in
    star.jobs.events(job)`. Raises what StarClient raises. A call that is cancelled goes on in its thread,
    until `close` at the longest: its next request is refused then.
    """

    def __init__(self, base_url: str | None = None, api_key: str | None = None) -> None:
        self._client = StarClient(base_url, api_key)
        self.base_url = self._client.base_url
        # Not the loop's own few threads: jobs that are waited for would keep everything else from running.
        self._threads = ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="star-client")

    def __getattr__(self, name: str) -> _Resource:
        if name.startswith("_"):
            raise AttributeError(name)
        return _Resource(getattr(self._client, name), self._threads)

    async def close(self) -> None:
        """End the connections; what has not begun is cancelled. It never waits for a thread."""
        self._client.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def __aenter__(self) -> AsyncStarClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class _Resource:
    """`jobs`, `datasets` and so on."""

    def __init__(self, resource: Any, threads: ThreadPoolExecutor) -> None:
        self._resource = resource
        self._threads = threads

    def __getattr__(self, name: str) -> Callable[..., _Call]:
        if name.startswith("_"):
            raise AttributeError(name)
        method = getattr(self._resource, name)
        return lambda *arguments, **named: _Call(partial(method, *arguments, **named), self._threads)


class _Call(Coroutine[Any, Any, Any]):
    """One call, not begun yet: awaited, made a task of, or iterated."""

    def __init__(self, call: Callable[[], Any], threads: ThreadPoolExecutor) -> None:
        self._call = call
        self._threads = threads
        self._begun: Coroutine[Any, Any, Any] | None = None

    def __await__(self) -> Generator[Any, None, Any]:
        return self._in_thread(self._call).__await__()

    async def __aiter__(self) -> AsyncIterator[Any]:
        found: Iterator[Any] = iter(await self._in_thread(self._call))
        while (one := await self._in_thread(next, found, _END)) is not _END:
            yield one

    def send(self, value: Any) -> Any:
        return self._coroutine().send(value)

    def throw(self, *failure: Any) -> Any:
        return self._coroutine().throw(*failure)

    def close(self) -> None:
        if self._begun is not None:
            self._begun.close()

    def _coroutine(self) -> Coroutine[Any, Any, Any]:
        if self._begun is None:
            self._begun = self._in_thread(self._call)
        return self._begun

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """As asyncio.to_thread, in a thread of this client."""
        call = partial(contextvars.copy_context().run, function, *arguments)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)
