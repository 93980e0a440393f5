"""A request's turn among those of its project: given by app/http/turns.py, given back by what only waits."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar

from anyio import Semaphore


class Turn:
    """One of its project's turns. Given back once, however often that is asked for."""

    def __init__(self, held: Sequence[Semaphore]) -> None:
        self._held = held

    def give_back(self) -> None:
        held, self._held = self._held, ()
        for one in held:
            one.release()


current_turn: ContextVar[Turn | None] = ContextVar("turn", default=None)


def give_turn_back() -> None:
    """What follows in this request is waiting, or has a limit of its own: another request may begin."""
    turn = current_turn.get()
    if turn is not None:
        turn.give_back()
