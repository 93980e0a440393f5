"""A request's turn among those of its project: given by app/http/turns.py, given back by what only waits.

While another project asks, an API process does one thing at a time for each. All its threads share one
interpreter, so that each thread of a busy project makes the requests of the others as much slower.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from time import monotonic

from anyio import Lock, Semaphore, from_thread, move_on_after, sleep

RECENTLY = 1.0  # seconds since another project has asked
PATIENCE = 5.0  # seconds that a request waits for what its own project does already, such as a dry run
BODY_BYTES = 16 << 20  # a second, of all that a project uploads at the same time


class Turn:
    """One of its project's turns. Given back once, however often that is asked for."""

    def __init__(self, held: Sequence[Semaphore]) -> None:
        self.held = held

    def give_back(self) -> None:
        held, self.held = self.held, ()
        for one in held:
            one.release()


current_turn: ContextVar[Turn | None] = ContextVar("turn", default=None)


def give_turn_back() -> None:
    """What follows in this request is waiting, or has a limit of its own: another request may begin."""
    turn = current_turn.get()
    if turn is not None:
        turn.give_back()


class Neighbours:
    """Who asks at the same time. Made once per process, and used in its event loop; threads use `in_turn`."""

    def __init__(self) -> None:
        self._asked: dict[str, float] = {}  # when a project has asked; of the two that did so last
        self._at_work: dict[str, Semaphore] = {}  # by project, kept for each that has asked beside another
        self._bodies: dict[str, Lock] = {}

    def note(self, project_id: str) -> None:
        """Remember that this project asks now."""
        self._asked.pop(project_id, None)
        self._asked[project_id] = monotonic()
        while len(self._asked) > 2:
            del self._asked[next(iter(self._asked))]

    def ask_beside(self, project_id: str) -> bool:
        """Whether another project has asked in the last second."""
        since = monotonic() - RECENTLY
        asked = tuple(self._asked.items())  # at once: threads ask, too
        return any(name != project_id and at > since for name, at in asked)

    async def take_turn(self, project_id: str) -> Turn:
        """Wait until nothing else of this project is worked on, if another project asks; PATIENCE at most."""
        if not self.ask_beside(project_id):
            return Turn(())
        one = self._at_work.setdefault(project_id, Semaphore(1, max_value=1))
        with move_on_after(PATIENCE):
            await one.acquire()
            return Turn((one,))
        return Turn(())

    @asynccontextmanager
    async def turn(self, project_id: str) -> AsyncIterator[None]:
        """As `take_turn`, given back at the end."""
        taken = await self.take_turn(project_id)
        try:
            yield
        finally:
            taken.give_back()

    async def pace(self, project_id: str, count: int) -> None:
        """Called when so many bytes of a body have been received, in the thread that answers everybody."""
        if not self.ask_beside(project_id):
            return
        async with self._bodies.setdefault(project_id, Lock()):
            await sleep(count / BODY_BYTES)


# Where a thread works by steps for a project: set by app.intake.slots, and copied into the thread.
working_for: ContextVar[tuple[Neighbours, str] | None] = ContextVar("working_for", default=None)


@contextmanager
def in_turn() -> Iterator[None]:
    """A step of what a thread does for a project: while another project asks, one after what else it does."""
    found = working_for.get()
    if found is None or not found[0].ask_beside(found[1]):
        yield
        return
    turn = from_thread.run(found[0].take_turn, found[1])
    try:
        yield
    finally:
        from_thread.run_sync(turn.give_back)
