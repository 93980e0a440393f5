"""The HTTP server against connections that are meant to hold it: long heads, and heads that never end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from socket import create_connection, socket

import pytest
import uvicorn
from starlette.responses import PlainTextResponse

from app import server
from app.server import HEAD_BYTES, HEAD_FIELDS, BoundedHttp

SECONDS = 30  # in which every answer here has come


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a server with an application that answers everything."""
    config = uvicorn.Config(
        PlainTextResponse("here"), port=0, log_level="critical", http=BoundedHttp, ws="none"
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=asyncio.run, args=(running.serve(),))
    thread.start()
    while not running.started:
        thread.join(0.01)
    yield running.servers[0].sockets[0].getsockname()[1]
    running.should_exit = True
    thread.join()


def exchange(port: int, *parts: bytes) -> bytes:
    """All that the server says to this until it closes the connection."""
    with create_connection(("127.0.0.1", port), SECONDS) as connection:
        for part in parts:
            try:
                connection.sendall(part)
            except (BrokenPipeError, ConnectionResetError):
                break
        return received(connection)


def received(connection: socket) -> bytes:
    found = b""
    try:
        while more := connection.recv(1 << 16):
            found += more
    except ConnectionResetError:  # it closed while this side still sent
        pass
    return found


def request(*headers: str) -> bytes:
    return "\r\n".join(("GET / HTTP/1.1", "Host: x", "Connection: close", *headers, "", "")).encode()


def test_an_ordinary_request_is_answered_however_it_is_cut(port: int) -> None:
    sent = request("X-A: b")
    assert exchange(port, sent).startswith(b"HTTP/1.1 200")
    assert exchange(port, *(bytes([byte]) for byte in sent)).startswith(b"HTTP/1.1 200")
    assert exchange(port, request("X-A: " + "a" * (HEAD_BYTES - 1000))).startswith(b"HTTP/1.1 200")
    body = b"x" * 1_000_000
    post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + body
    assert exchange(port, post, request()).count(b"HTTP/1.1 200") == 2


@pytest.mark.parametrize("name", ["one field", "one field in parts", "its line", "its fields"])
def test_a_head_that_is_too_long_is_refused(port: int, name: str) -> None:
    long = "a" * (HEAD_BYTES + 1)
    answer = {
        "one field": lambda: exchange(port, request("X-A: " + long)),
        "one field in parts": lambda: exchange(port, b"GET / HTTP/1.1\r\nX-A: ", *[b"a" * 50_000] * 50),
        "its line": lambda: exchange(port, f"GET /{long} HTTP/1.1\r\n\r\n".encode()),
        "its fields": lambda: exchange(port, request(*(f"X-{n}: a" for n in range(HEAD_FIELDS)))),
    }[name]()
    assert answer.startswith(b"HTTP/1.1 431") or answer == b""  # b"": reset before it was read
    assert exchange(port, request()).startswith(b"HTTP/1.1 200")


def test_a_connection_without_a_whole_head_is_closed(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.05)
    assert exchange(port, b"") == b""
    assert exchange(port, b"GET / HTTP/1.1\r\nX-A: a") == b""
    second = b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nX-A: a"
    answer = exchange(port, second)
    assert answer.count(b"HTTP/1.1 200") == 1


def test_an_answer_that_takes_longer_than_a_head_may_is_not_cut() -> None:
    """The clock of the head stops with its last field."""
    loop = asyncio.new_event_loop()
    config = uvicorn.Config(PlainTextResponse("here"), loop="none", http=BoundedHttp, ws="none")
    config.load()
    protocol = BoundedHttp(config, uvicorn.server.ServerState(), {}, loop)

    class Transport(asyncio.Transport):
        def is_closing(self) -> bool:
            return False

        def write(self, data: bytes | bytearray | memoryview) -> None:
            pass

        def pause_reading(self) -> None:
            pass

    protocol.connection_made(Transport())
    waiting = protocol._in_time
    protocol.data_received(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n")
    assert waiting is not None
    assert waiting.cancelled()
    assert protocol._in_time is None
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
