"""The noise of benchmarks.noisy_neighbour: what one project, or a stranger, may do at once."""

from __future__ import annotations

import json
import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from urllib.parse import urlsplit

import httpx2

ROWS = 20_000  # of what is uploaded again and again
STREAMS = 200
IDLE = 1500  # connections of strangers that never finish their headers
BIG_BODY = b"[" + b"[]," * 2_796_200 + b"[]]"  # 8 MiB of JSON
BIG_HEADER = b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-a: " + b"a" * (16 << 20)


@dataclass(frozen=True)
class Noisy:
    """The project that makes the noise."""

    base_url: str
    keys: tuple[str, ...]
    job: str
    trial: dict[str, object]  # the body of a dry run
    until: float  # by time.time()

    def client(self, number: int) -> httpx2.Client:
        headers = {"Authorization": f"Bearer {self.keys[number % len(self.keys)]}"}
        return httpx2.Client(base_url=self.base_url, headers=headers, timeout=120)


def repeated(noisy: Noisy, threads: int, ask: Callable[[httpx2.Client, int], object]) -> None:
    """Ask in so many threads until the time is over; refusals are waited out, as a client would."""
    numbers = count()

    def run(number: int) -> None:
        with noisy.client(number) as client:
            while time.time() < noisy.until:
                with suppress(httpx2.TransportError):
                    answer = ask(client, next(numbers))
                    if isinstance(answer, httpx2.Response) and answer.status_code == 429:
                        time.sleep(1)

    started = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join(max(0.0, noisy.until - time.time()) + 1)


def polls(noisy: Noisy) -> None:
    repeated(noisy, 16, lambda client, _: client.get(f"/v1/jobs/{noisy.job}"))


def lists(noisy: Noisy) -> None:
    repeated(noisy, 8, lambda client, _: client.get("/v1/jobs", params={"limit": 100}))


def dry_runs(noisy: Noisy) -> None:
    repeated(noisy, 8, lambda client, _: client.post("/v1/jobs", json=noisy.trial))


def jobs(noisy: Noisy) -> None:
    def create_and_cancel(client: httpx2.Client, _: int) -> httpx2.Response:
        made = client.post("/v1/jobs", json={**noisy.trial, "dry_run": False})
        if made.status_code == 201:
            client.post(f"/v1/jobs/{made.json()['id']}/cancel")
        return made

    repeated(noisy, 4, create_and_cancel)


def uploads(noisy: Noisy) -> None:
    def upload(client: httpx2.Client, number: int) -> httpx2.Response:
        rows = "".join(
            json.dumps({"question": f"{number}: {row} + 1?", "answer": str(row + 1)}) + "\n"
            for row in range(ROWS)
        )
        params = {"kind": "numeric", "validation": "100", "name": f"noise {number}"}
        return client.post("/v1/datasets", params=params, content=rows)

    repeated(noisy, 4, upload)


def files(noisy: Noisy) -> None:
    content = b"x" * (4 << 20)

    def send(client: httpx2.Client, number: int) -> httpx2.Response:
        form = {"file": (f"{number}.jsonl", content + str(number).encode())}
        return client.post("/v1/files", files=form, data={"purpose": "fine-tune"})

    repeated(noisy, 4, send)


def streams(noisy: Noisy) -> None:
    """Opened at once and read until the end."""
    path = f"/v1/jobs/{noisy.job}/events/stream"
    ask = [
        f"GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
        for key in noisy.keys
    ]
    _hold(noisy, [ask[number % len(ask)] for number in range(STREAMS)])


def idle_connections(noisy: Noisy) -> None:
    """Without a key: headers that never end."""
    _hold(noisy, [b"GET /healthz HTTP/1.1\r\nHost: a\r\n"] * IDLE)


def big_bodies(noisy: Noisy) -> None:
    """Without a key."""
    strangers = httpx2.Client(base_url=noisy.base_url, timeout=60)
    headers = {"Content-Type": "application/json"}
    repeated(noisy, 6, lambda *_: strangers.post("/v1/jobs", content=BIG_BODY, headers=headers))


def big_headers(noisy: Noisy) -> None:
    """Without a key."""
    address = urlsplit(noisy.base_url)

    def send(*_: object) -> None:
        with suppress(OSError), socket.create_connection((address.hostname, address.port), 10) as sent:
            sent.sendall(BIG_HEADER)

    repeated(noisy, 4, send)


def _hold(noisy: Noisy, requests: list[bytes]) -> None:
    """Keep a connection open for each, and open it again when the server ends it."""
    address = urlsplit(noisy.base_url)
    waiting = selectors.DefaultSelector()

    def connect(request: bytes) -> None:
        with suppress(OSError):
            made = socket.create_connection((address.hostname, address.port), 10)
            made.sendall(request)
            made.setblocking(False)
            waiting.register(made, selectors.EVENT_READ, request)

    for request in requests:
        connect(request)
    while time.time() < noisy.until:
        for key, _ in waiting.select(0.5):
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            with suppress(BlockingIOError, ConnectionError):
                if connection.recv(1 << 16):
                    continue
            waiting.unregister(connection)
            connection.close()
            connect(key.data)


OF_A_PROJECT: Mapping[str, Callable[[Noisy], None]] = {
    "polls, 16 clients": polls,
    "lists of 100, 8 clients": lists,
    "dry runs, 8 clients": dry_runs,
    "jobs made and cancelled, 4 clients": jobs,
    f"uploads of {ROWS:,} rows, 4 clients": uploads,
    "files of 4 MiB, 4 clients": files,
    f"{STREAMS} streams": streams,
}
OF_STRANGERS: Mapping[str, Callable[[Noisy], None]] = {
    "bodies of 8 MiB, 6 clients": big_bodies,
    "headers of 16 MiB, 4 clients": big_headers,
    f"{IDLE:,} idle connections": idle_connections,
}
