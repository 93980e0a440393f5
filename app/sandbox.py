"""Executions by another machine: the client of `worker/sandbox/service.py`, for workers and the API alike."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx2

from star_engine.tasks.programs.execution import Execution, Program, SandboxFailed, execution_from, use_runner

ATTEMPTS = 3  # where the service does not answer: it may just be restarted
CONNECT_SECONDS = 5.0
QUEUE_SECONDS = 120.0  # that a program may wait for its turn there, beyond its own wall time


_service = ""


def use_service(url: str) -> None:
    """Have this process's programs executed by the service at `url`; empty: execute none."""
    global _service  # noqa: PLW0603 - one per process, as its runner is
    _service = url
    use_runner(RemoteRunner(url) if url else None)


def service_url() -> str:
    """The address that `use_service` was given, for processes that this one starts."""
    return _service


class RemoteRunner:
    """A CodeRunner whose sandbox is a service at `url`. It takes as many requests at once as `size`."""

    def __init__(self, url: str, size: int = 4) -> None:
        self._url, self._size = url, size
        self._owner = 0
        self._connect()

    def _connect(self) -> None:
        """Connections and threads do not pass a fork, and processes that verify an upload are forked."""
        if self._owner != os.getpid():
            self._owner = os.getpid()
            self._client = httpx2.Client(base_url=self._url, trust_env=False)
            self._threads = ThreadPoolExecutor(self._size, thread_name_prefix="sandbox")

    def run(self, programs: Sequence[Program], owner: str = "") -> Iterator[Execution]:
        """Have the programs executed, several at once. Raises SandboxFailed without an answer."""
        self._connect()
        yield from self._threads.map(partial(self._execute, owner), programs)

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)
        self._client.close()

    def _execute(self, owner: str, program: Program) -> Execution:
        timeout = httpx2.Timeout(program.limits.wall_s + QUEUE_SECONDS, connect=CONNECT_SECONDS)
        body = {"programs": [program.as_json()], "owner": owner}
        why = ""
        for _ in range(ATTEMPTS):
            try:
                answer = self._client.post("/run", json=body, timeout=timeout)
                if answer.status_code == 200:
                    return execution_from(answer.json()["executions"][0])
                why = f"the sandbox service answers {answer.status_code}: {answer.text[:300]}"
            except httpx2.TransportError as problem:
                why = f"the sandbox service does not answer ({type(problem).__name__})"
            except (ValueError, KeyError, IndexError, TypeError, AttributeError) as problem:
                why = f"the sandbox service's answer cannot be read ({type(problem).__name__})"
        raise SandboxFailed(why)
