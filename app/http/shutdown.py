"""Handles SIGTERM before the server waits for open requests, some of which would last for hours."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def when_told_to_stop(call: Callable[[], None]) -> Iterator[None]:
    """Runs `call` in the event loop once the process gets SIGTERM or SIGINT; the rest is the server's.

    uvicorn ends the lifespan only after the last request has been answered. Outside the main thread, where
    nobody can listen to signals, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    servers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def stop(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(call)
        server = servers[signal.Signals(number)]
        if callable(server):
            server(number, frame)

    heard = [number for number, server in servers.items() if callable(server)]
    for number in heard:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, servers[number])
