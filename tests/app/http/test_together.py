"""Who asks the same at the same moment is answered together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import anyio
import pytest

from app.http.events.together import CALLS, Together


class Slow:
    """A call that waits until it may go on, and counts."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.go_on, self.problem = threading.Event(), problem
        self.calls: list[str] = []

    def has(self, calls: int) -> bool:
        return len(self.calls) == calls

    def __call__(self, key: str) -> int:
        self.calls.append(key)
        assert self.go_on.wait(60)
        if self.problem is not None:
            raise self.problem
        return len(self.calls)


async def until(true: Callable[[], bool]) -> None:
    with anyio.fail_after(60):
        while not true():  # noqa: ASYNC110 - what it waits for is no event
            await anyio.sleep(0.005)


def asked_by_many(slow: Slow, count: int, key: str = "a") -> list[int | Exception]:
    """All ask while the first calls run; then these may end."""
    answers: list[int | Exception] = []

    async def ask(together: Together[int]) -> None:
        try:
            answers.append(await together.ask(key))
        except LookupError as problem:
            answers.append(problem)

    async def everybody() -> None:
        together = Together(slow)
        async with anyio.create_task_group() as tasks:
            for _ in range(count):
                tasks.start_soon(ask, together)
            await until(lambda: len(slow.calls) > 0)
            slow.go_on.set()

    anyio.run(everybody)
    return answers


def test_hundreds_share_a_call_that_is_made_after_they_asked() -> None:
    slow = Slow()
    answers = asked_by_many(slow, 300)
    assert len(answers) == 300
    assert len(slow.calls) <= CALLS + 1, "those that were running, and one for all who came meanwhile"


def test_what_goes_wrong_is_told_to_all() -> None:
    slow = Slow(LookupError("no such job"))
    answers = asked_by_many(slow, 50)
    assert [str(one) for one in answers] == ["no such job"] * 50
    assert len(slow.calls) <= CALLS + 1


def test_others_are_answered_although_the_first_has_gone() -> None:
    slow, answers = Slow(), []

    async def ask(together: Together[int]) -> None:
        answers.append(await together.ask("a"))

    async def everybody() -> None:
        together = Together(slow)
        gone = anyio.CancelScope()

        async def goes() -> None:
            with gone:
                await ask(together)

        async with anyio.create_task_group() as tasks:
            for number in range(CALLS):  # they hold every turn
                tasks.start_soon(ask, together)
                await until(partial(slow.has, number + 1))
            tasks.start_soon(goes)
            await until(lambda: ("a",) in together._asked)
            waiting = together._asked["a",].done
            tasks.start_soon(ask, together)
            await until(lambda: waiting.statistics().tasks_waiting == 1)
            gone.cancel()
            await waiting.wait()
            slow.go_on.set()

    anyio.run(everybody)
    assert len(answers) == CALLS + 1


@pytest.mark.parametrize("keys", [("a", "b")])
def test_another_question_is_another_call(keys: tuple[str, str]) -> None:
    slow, found = Slow(), {}
    slow.go_on.set()

    async def both() -> None:
        together = Together(slow)
        for key in keys:
            found[key] = await together.ask(key)

    anyio.run(both)
    assert slow.calls == list(keys)
    assert found == {"a": 1, "b": 2}
