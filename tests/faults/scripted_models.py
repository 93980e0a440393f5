"""Scripts of the GPU process that break it; failpoints work in there as well."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from app.failpoints import failpoint
from star_engine.protocols import OutOfMemory
from tests.factories import pupil, slow_pupil
from tests.worker.sandbox.code_pupil import pupil as programming_pupil
from tests.worker.sandbox.tool_pupil import pupil as tool_pupil


def breakable_pupil() -> Any:
    """Comes by the failpoint gpu.answer before each answer."""
    answer = pupil()

    def answered(request: Any, adapter: Any) -> str:
        failpoint("gpu.answer")
        return str(answer(request, adapter))

    return answered


def pupil_broken_in_company() -> Any:
    """Comes by the failpoint gpu.answer once the test says that several steps share the call."""
    answer = pupil()
    shared = Path(os.environ["UNDER_TEST_HOME"], "shared")

    def answered(request: Any, adapter: Any) -> str:
        if shared.exists():
            failpoint("gpu.answer")
        return str(answer(request, adapter))

    return answered


def unhurried_pupil() -> Any:
    """Twenty answers a second, so that a step lasts long enough to be broken in the middle."""
    answer = pupil()

    def answered(request: Any, adapter: Any) -> str:
        time.sleep(0.05)
        return str(answer(request, adapter))

    return answered


def unhurried_pupil_of_all() -> Any:
    """The same, who is asked for programs too, and for products, which it has a tool for."""
    adds, programs, multiplies = pupil(), programming_pupil(), tool_pupil()

    def answered(request: Any, adapter: Any) -> str:
        time.sleep(0.05)
        if "Write f(x)" in request.prompt:
            return str(programs(request, adapter)).replace("while True: pass", "return -x")
        if " times " in request.prompt:
            return multiplies(request, adapter)
        return str(adds(request, adapter))

    return answered


def poison() -> Any:
    def die(request: Any, adapter: Any) -> str:
        print("these are my last words", flush=True)  # noqa: T201
        os.kill(os.getpid(), signal.SIGKILL)
        return ""

    return die


def too_large() -> Any:
    def overflow(request: Any, adapter: Any) -> str:
        raise OutOfMemory("64 sequences of 4096 tokens do not fit")

    return overflow


def slow_to_load() -> Any:
    """A model that takes a minute to load."""
    Path(os.environ["UNDER_TEST_HOME"], "loading").touch()
    time.sleep(60)
    return pupil()


def slow_step(step: int) -> None:
    """Half a second per training step; leaves a line for each."""
    with Path(os.environ["UNDER_TEST_HOME"], "training-steps").open("a") as file:
        file.write(f"{step}\n")
    time.sleep(0.5)


__all__ = [
    "breakable_pupil",
    "poison",
    "pupil_broken_in_company",
    "slow_pupil",
    "slow_step",
    "slow_to_load",
    "too_large",
    "unhurried_pupil",
    "unhurried_pupil_of_all",
]
