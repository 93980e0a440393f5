"""Requests with the API key, retried where that is safe; errors as exceptions."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import uuid4

import httpx2

from star_client.connection import Connection
from star_client.errors import Unreachable, problem_from

TRANSIENT = frozenset({429, 502, 503, 504})
ATTEMPTS = 6
FIRST_CONTACT = (
    2  # attempts to connect to a server that has never answered: it is not restarting, it is not there
)
LONGEST_PAUSE = 8.0  # seconds; with ATTEMPTS a restart of about 15 s is sat out
TIMEOUT = httpx2.Timeout(60.0, connect=5.0)  # reading: twice what the server lets `wait` be
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)  # None: left out
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    file: Path | None = None  # the body; opened again for each attempt
    content: bytes | None = None  # the body, in place of a file
    patience: float | None = None  # seconds without a byte of the answer; None: as of every request
    again: bool = False  # may be sent twice: GET, or the server recognises a repetition

    @property
    def safe(self) -> bool:
        return self.again or self.method == "GET"


def once(path: str, json: Any = None, key: str | None = None) -> Request:
    """A POST that makes one object however often it is sent: under `key`, or a random Idempotency-Key."""
    return Request("POST", path, headers={"Idempotency-Key": key or str(uuid4())}, json=json, again=True)


def matching(if_match: str | None) -> dict[str, str]:
    """Headers of a change that is meant for one version of an object, or for whatever there is (None)."""
    return {} if if_match is None else {"If-Match": if_match}


class Transport:
    """One HTTP connection pool."""

    def __init__(self, connection: Connection, pause: Callable[[float], None]) -> None:
        url = httpx2.URL(connection.base_url)
        if url.scheme not in ("http", "https") or not url.host:
            raise Unreachable(f"{connection.base_url!r} is not the address of a server (http://...).")
        self.base_url = connection.base_url
        self._pause = pause
        self._answered = False
        headers = {"Authorization": f"Bearer {connection.api_key}"} if connection.api_key else {}
        self._client = httpx2.Client(
            base_url=url,
            headers={**headers, "User-Agent": "star-client"},
            timeout=TIMEOUT,
            trust_env=url.host not in LOOPBACK,  # a company's proxy does not lead to this machine
        )

    def __enter__(self) -> Transport:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def send(self, request: Request) -> httpx2.Response:
        """Return the whole response, of a status below 400. Raises ProblemError and Unreachable."""
        attempt = 0
        while True:
            attempt += 1
            try:
                response = self._send_once(request)
            except httpx2.TransportError as error:
                if attempt >= self._attempts(request, error):
                    raise self.unreachable(error) from error
                self.pause(attempt)
                continue
            self._answered = True
            if response.status_code < 400:
                return response
            if attempt == ATTEMPTS or not (request.safe and response.status_code in TRANSIENT):
                raise problem_from(response)
            self.pause(attempt, response)

    @contextmanager
    def stream(self, request: Request) -> Iterator[httpx2.Response]:
        """A response to read piece by piece; one attempt. Raises ProblemError and httpx2.TransportError.

        A link to a storage is followed; the key is not sent there.
        """
        arguments = self._arguments(request)
        with self._client.stream(
            request.method, request.path, follow_redirects=True, **arguments
        ) as response:
            if response.status_code >= 400:
                response.read()
                raise problem_from(response)
            yield response

    def pause(self, attempt: int, response: httpx2.Response | None = None) -> None:
        """Wait as the server asks, else twice as long as after the attempt before (they count from 1)."""
        asked = response.headers.get("retry-after", "") if response is not None else ""
        seconds = float(asked) if asked.isdigit() else 0.125 * 2**attempt * random.uniform(1, 1.5)
        self._pause(min(seconds, LONGEST_PAUSE))

    def unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(f"{self.base_url} does not answer ({type(error).__name__}: {error}).")

    def _attempts(self, request: Request, error: httpx2.TransportError) -> int:
        if isinstance(error, httpx2.ConnectError):  # nothing was sent
            return ATTEMPTS if self._answered else FIRST_CONTACT
        return ATTEMPTS if request.safe else 1

    def _send_once(self, request: Request) -> httpx2.Response:
        arguments = self._arguments(request)
        if request.file is None:
            return self._client.request(request.method, request.path, content=request.content, **arguments)
        with request.file.open("rb") as body:
            return self._client.request(request.method, request.path, content=body, **arguments)

    def _arguments(self, request: Request) -> dict[str, Any]:
        return {
            "params": {name: value for name, value in request.params.items() if value is not None},
            "headers": request.headers,
            "json": request.json,
            **(
                {} if request.patience is None else {"timeout": httpx2.Timeout(request.patience, connect=5.0)}
            ),
        }
