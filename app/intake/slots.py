"""Threads for what takes long, such as reading uploads, shared out so that no project has all of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread

from app.given_up import stop_if_given_up
from app.turns import Neighbours, give_turn_back, working_for

P = ParamSpec("P")
T = TypeVar("T")


class ProjectSlots:
    """Made once per process. With two slots or more, a project has all but one of them at most.

    While another project asks, a call counts as what its project does at that moment; `by_steps`: only those
    parts of it that are `in_turn`, so that a long call does not hold up the rest of its project.
    """

    def __init__(self, at_once: int, neighbours: Neighbours, *, by_steps: bool = False) -> None:
        self._all, self._neighbours, self._by_steps = CapacityLimiter(at_once), neighbours, by_steps
        self._each = max(1, at_once - 1)
        self._of: dict[str, CapacityLimiter] = {}

    async def run(self, project_id: str, call: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """The call's result, from a thread of its own: those that wait here do not hold up other requests."""
        give_turn_back()  # a project that uploads all day goes on reading beside it
        own = self._of.setdefault(project_id, CapacityLimiter(self._each))
        turn = nullcontext() if self._by_steps else self._neighbours.turn(project_id)
        before = working_for.set((self._neighbours, project_id) if self._by_steps else None)
        try:
            async with own, turn:
                stop_if_given_up()  # while it waited
                return await to_thread.run_sync(partial(call, *args, **named), limiter=self._all)
        finally:
            working_for.reset(before)
            counted = own.statistics()
            if not counted.borrowed_tokens and not counted.tasks_waiting:
                self._of.pop(project_id, None)
