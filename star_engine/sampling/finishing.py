"""Works on completions in threads while the sampler goes on: judging one may mean running programs.

Plans are for one thread at a time, so one lock is held wherever a plan's code runs. It is let go while the
sampler is waited for, and by a thread whose programs are in the sandbox: see `execution.letting_go`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Generic, TypeVar

from star_engine.protocols import Completion, Sampler, SampleRequest, SamplingParams
from star_engine.tasks.programs.execution import letting_go

T = TypeVar("T")
AT_ONCE = 8  # completions that are worked on; how many programs run at once is the sandbox's to say
MAX_WAITING = 256  # completions: with more of them the sampler waits
LOOK_SECONDS = 0.5  # between two calls of `idle`


def finished(
    sampler: Sampler,
    queue: deque[SampleRequest],
    params: SamplingParams,
    finish: Callable[[Completion], T],
    *,
    side_by_side: bool,
    idle: Callable[[], None] = lambda: None,
) -> Generator[tuple[Completion, Callable[[], T]]]:
    """Completions as `Sampler.stream` gives them, each with what gives (or raises) what `finish` makes of it.

    side_by_side: whether several are finished at once; else each is when it is asked for. What they bring to
    the queue is sampled as well.
    idle: called while nothing but programs runs; what it raises ends the call.

    Close it where it is not exhausted: then it waits for the programs that run, and begins no other.
    """
    if not side_by_side:
        for completion in sampler.stream(queue, params):
            yield completion, partial(finish, completion)
        return
    work = _SideBySide(ThreadPoolExecutor(AT_ONCE, thread_name_prefix="finish"), finish)
    work.lock.acquire()
    try:
        yield from work.through(sampler, queue, params, idle)
    finally:
        work.lock.release()
        work.threads.shutdown(cancel_futures=True)  # no program of a step runs beside its next attempt


@dataclass(slots=True)
class _SideBySide(Generic[T]):
    threads: ThreadPoolExecutor
    finish: Callable[[Completion], T]
    lock: Lock = field(default_factory=Lock)
    running: dict[Future[T], Completion] = field(default_factory=dict)

    def through(
        self,
        sampler: Sampler,
        queue: deque[SampleRequest],
        params: SamplingParams,
        idle: Callable[[], None],
    ) -> Iterator[tuple[Completion, Callable[[], T]]]:
        """Entered with the lock held, and left so; so is the caller's code run."""
        while queue or self.running:
            if not queue:
                idle()
                yield from self._ended(LOOK_SECONDS)
                continue
            stream = sampler.stream(queue, params)
            while (completion := self._next(stream)) is not None:
                self.running[self.threads.submit(self._work, completion)] = completion
                yield from self._ended(0.0)
                while len(self.running) > MAX_WAITING:
                    idle()
                    yield from self._ended(LOOK_SECONDS)

    def _next(self, stream: Iterator[Completion]) -> Completion | None:
        self.lock.release()
        try:
            return next(stream, None)
        finally:
            self.lock.acquire()

    def _work(self, completion: Completion) -> T:
        with self.lock, letting_go(self.lock):
            return self.finish(completion)

    def _ended(self, seconds: float) -> Iterator[tuple[Completion, Callable[[], T]]]:
        self.lock.release()
        try:
            ended, _ = wait(self.running, seconds, FIRST_COMPLETED)
        finally:
            self.lock.acquire()
        for future in [one for one in self.running if one in ended]:  # in the order of their completions
            yield self.running.pop(future), future.result
