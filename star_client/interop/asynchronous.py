"""The SDK in an event loop: `async with AsyncStarClient() as star: await star.jobs.get(...)`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from functools import partial
from types import TracebackType
from typing import Any

from star_client.client import StarClient

_END = object()


class AsyncStarClient:
    """StarClient with the same resources and methods. Each call runs in a thread, so the loop goes on.

    What returns one object is awaited; what returns many is iterated: `async for event in
    star.jobs.events(job)`. Raises what StarClient raises. A call that is cancelled goes on in its thread.
    """

    def __init__(self, base_url: str | None = None, api_key: str | None = None) -> None:
        self._client = StarClient(base_url, api_key)
        self.base_url = self._client.base_url

    def __getattr__(self, name: str) -> _Resource:
        return _Resource(getattr(self._client, name))

    async def close(self) -> None:
        await asyncio.to_thread(self._client.close)

    async def __aenter__(self) -> AsyncStarClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class _Resource:
    """`jobs`, `datasets` and so on."""

    def __init__(self, resource: Any) -> None:
        self._resource = resource

    def __getattr__(self, name: str) -> Callable[..., _Call]:
        method = getattr(self._resource, name)
        return lambda *arguments, **named: _Call(partial(method, *arguments, **named))


class _Call:
    """One call, not begun yet: awaited, or iterated."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call

    def __await__(self) -> Generator[Any, None, Any]:
        return asyncio.to_thread(self._call).__await__()

    async def __aiter__(self) -> AsyncIterator[Any]:
        found: Iterator[Any] = iter(await asyncio.to_thread(self._call))
        while (one := await asyncio.to_thread(next, found, _END)) is not _END:
            yield one
