"""The HTTP server of the API: uvicorn, with limits on what a stranger may hold.

python -m app.server [--host 127.0.0.1] [--port 8000]

What it bounds are connections, headers and the time that they take; app/http/uploads.py bounds bodies.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.http.collector import hold_full_collections
from app.settings import Settings

HEAD_BYTES = 64 << 10  # of a request's line and headers
HEAD_FIELDS = 100
HEAD_SECONDS = 15.0  # from the connection, or the first byte of a later request, to the last header
READ_BYTES = 64 << 10  # handed to the parser at once
STOP_SECONDS = 3
# How long a thread that computes keeps the others waiting at each turn; Python's own is 5 ms. A request hands
# over some ten times, so beside a dozen busy threads of another project it waited 0.7 s and now waits 0.3 s.
SWITCH_SECONDS = 0.0005


class HeadTooLarge(ValueError):
    """A request's head is longer than HEAD_BYTES or has more fields than HEAD_FIELDS."""


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's fast protocol has no such limits: there, one header that grows costs quadratic time."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._in_head, self._too_large = True, False
        self._fed = 0  # bytes since the head began, more than its own by READ_BYTES at most
        self._fields = 0  # bytes of its line and of its fields that are whole
        self._in_time: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._in_time = self.loop.call_later(HEAD_SECONDS, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        for start in range(0, len(data), READ_BYTES):
            if self.transport.is_closing():
                return
            part = data[start : start + READ_BYTES]
            super().data_received(part)
            self._fed = self._fed + len(part) if self._in_head else 0
            if self._fed > HEAD_BYTES + READ_BYTES and not self.transport.is_closing():
                self._refuse_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._fed, self._fields = True, 0, 0
        if self._in_time is None:
            self._in_time = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def on_url(self, url: bytes) -> None:
        self._grow(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._grow(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        self._in_head = False
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """What uvicorn answers where the parser, or a callback of it, has raised."""
        if self._too_large:
            self._refuse_head()
        else:
            super().send_400_response(msg)

    def _grow(self, count: int) -> None:
        self._fields += count
        if self._fields > HEAD_BYTES or len(self.headers) >= HEAD_FIELDS:
            self._too_large = True
            raise HeadTooLarge

    def _stop_waiting(self) -> None:
        if self._in_time is not None:
            self._in_time.cancel()
            self._in_time = None

    def _refuse_head(self) -> None:
        self.transport.write(STATUS_LINE[431] + b"content-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()


def serve(settings: Settings, host: str, port: int) -> None:
    """Answer requests until the process is told to stop."""
    _raise_file_limit(settings.connections)
    uvicorn.run(
        "app.main:create_app",
        factory=True,
        host=host,
        port=port,
        http=BoundedHttp,
        ws="none",
        access_log=False,
        limit_concurrency=settings.connections,
        timeout_graceful_shutdown=STOP_SECONDS,
    )


def _raise_file_limit(connections: int) -> None:
    """Raise the limit on open files: each connection is one, and many systems default to 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * connections + 512
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve the API.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    sys.setswitchinterval(SWITCH_SECONDS)
    hold_full_collections()  # five of them, 0.4 s in all, would be made while modules are imported
    serve(Settings(), arguments.host, arguments.port)


if __name__ == "__main__":
    main()
