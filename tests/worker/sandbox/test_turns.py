"""The pool of a sandbox: bounded, and fair between projects."""

from __future__ import annotations

from threading import Event, Thread

import pytest

from tests.platforms import wait_until
from worker.sandbox.turns import Turns


def test_a_project_that_comes_later_waits_for_one_call_and_not_for_all_of_anothers() -> None:
    turns, began, go, order = Turns(1, "test"), Event(), Event(), list[str]()

    def work(item: str) -> str:
        began.set()
        go.wait(20)
        order.append(item)
        return item

    first = Thread(target=lambda: list(turns.map("first", work, ["a1", "a2", "a3", "a4"])))
    first.start()
    assert began.wait(20)
    wait_until(lambda: turns.waiting("first") == 3, "its calls are not handed in")
    third = Thread(target=lambda: list(turns.map("second", work, ["b1", "b2"])))
    third.start()
    wait_until(lambda: turns.waiting("second") == 2, "its calls are not handed in")
    go.set()
    first.join(20)
    third.join(20)
    turns.close()
    assert order == ["a1", "a2", "b1", "a3", "b2", "a4"]


def test_results_come_in_the_order_of_their_items_and_problems_are_raised() -> None:
    turns = Turns(4, "test")
    assert list(turns.map("one", str, range(50))) == [str(number) for number in range(50)]
    with pytest.raises(ZeroDivisionError):
        list(turns.map("one", lambda number: 1 // number, [1, 0, 2]))
    turns.close()
