"""A bounded pool in which owners take turns, so that no project's thousand programs delay another's."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import Any, TypeVar

T = TypeVar("T")
A = TypeVar("A")


class Turns:
    """`size` threads. The next call is always that of the owner who waits longest for a turn."""

    def __init__(self, size: int, name: str) -> None:
        self._threads = ThreadPoolExecutor(size, thread_name_prefix=name)
        self._waiting: dict[
            str, deque[tuple[Future[Any], Callable[[], Any]]]
        ] = {}  # by owner, in the order of their turns
        self._lock = Lock()

    def map(self, owner: str, work: Callable[[A], T], items: Iterable[A]) -> Iterator[T]:
        """`work` of each item, several at once; results come in their order."""
        futures = [self.submit(owner, partial(work, item)) for item in items]
        try:
            for future in futures:
                yield future.result()
        finally:
            for future in futures:  # where one has failed, the rest are not begun
                future.cancel()

    def waiting(self, owner: str) -> int:
        """How many calls of an owner have not begun."""
        with self._lock:
            return len(self._waiting.get(owner, ()))

    def close(self) -> None:
        """Begin nothing more, and wait for what runs."""
        with self._lock:
            for calls in self._waiting.values():
                for future, _ in calls:
                    future.cancel()
        self._threads.shutdown()

    def submit(self, owner: str, work: Callable[[], T]) -> Future[T]:
        """Do it in the owner's turn. One that is cancelled before is not begun."""
        future: Future[T] = Future()
        with self._lock:
            self._waiting.setdefault(owner, deque()).append((future, work))
        self._threads.submit(self._next)
        return future

    def _next(self) -> None:
        """Do the next call in turn. As many of these are waiting as there are calls."""
        with self._lock:
            owner = next(iter(self._waiting))
            calls = self._waiting.pop(owner)
            future, call = calls.popleft()
            if calls:
                self._waiting[owner] = calls  # behind all others
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(call())
        except BaseException as problem:  # noqa: BLE001 - it is the caller's to raise
            future.set_exception(problem)
