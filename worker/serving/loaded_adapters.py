"""The adapters that vLLM holds beside one base model; the one asked longest ago makes room for another."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol


class Holder(Protocol):
    async def load(self, name: str, folder: Path) -> None:
        """Raises BadAdapter."""

    async def unload(self, name: str) -> None: ...


class LoadedAdapters:
    """For one event loop."""

    def __init__(self, holder: Holder, limit: int) -> None:
        self._holder, self._limit = holder, limit
        self._texts: OrderedDict[str, int] = OrderedDict()  # name: texts of it that are being written
        self._loading = asyncio.Lock()
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def hold(self, name: str, fetch: Callable[[], Awaitable[Path]]) -> AsyncIterator[None]:
        """Have the adapter loaded, which waits while all others are in use. Raises what `load` raises.

        `fetch`: gives the folder of its files. It is called for one adapter at a time, and only where it is
        not loaded: two at once would write the same files.
        """
        if name not in self._texts:
            async with self._loading:
                if name not in self._texts:
                    folder = await fetch()
                    await self._make_room()
                    await self._holder.load(name, folder)
                    self._texts[name] = 0
        self._texts[name] += 1
        self._texts.move_to_end(name)
        try:
            yield
        finally:
            self._texts[name] -= 1
            self._freed.set()

    async def _make_room(self) -> None:
        while len(self._texts) >= self._limit:
            idle = next((name for name, texts in self._texts.items() if not texts), None)
            if idle is None:
                self._freed.clear()
                await self._freed.wait()
                continue
            del self._texts[idle]
            await self._holder.unload(idle)
