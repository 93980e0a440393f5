"""Tells a program that the sandbox always fails at from a sandbox that fails at every program.

The second passes, and the step waits for it. The first never would: its step, and so its job, would be tried
again for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from star_engine.tasks.programs.execution import (
    CodeRunner,
    Execution,
    GraderFailed,
    Program,
    SandboxFailed,
    Status,
)
from worker.sandbox.probe import RIGHT

TRIES = 3  # of a program that the sandbox fails at, while it runs another one in between


def executions(runner: CodeRunner, programs: Sequence[Program], owner: str = "") -> Iterator[Execution]:
    """What came of the programs, in their order. Raises SandboxFailed where the sandbox runs none at all.

    A program that it fails at again and again ends with the status `error`, which no verdict calls right.
    """
    left = list(programs)
    while left:
        done = 0
        try:
            for found in runner.run(left, owner):
                done += 1
                yield found
        except GraderFailed:  # not the program's fault, and no sandbox's
            raise
        except SandboxFailed as failure:
            if done == len(left):
                raise
            yield _tried_alone(runner, left[done], failure)
            done += 1
        left = left[done:] if done else []


def _tried_alone(runner: CodeRunner, program: Program, failure: SandboxFailed) -> Execution:
    for _ in range(TRIES - 1):
        _refuse_broken(runner, failure)
        try:
            [found] = runner.run([program])
        except SandboxFailed as again:
            failure = again
        else:
            return found
    _refuse_broken(runner, failure)
    why = f"the sandbox failed {TRIES} times at this program, and at no other: {failure}"
    return Execution(Status.ERROR, error=why[:500])


def _refuse_broken(runner: CodeRunner, failure: SandboxFailed) -> None:
    """Raises the failure where not even a program that is known to be right runs."""
    try:
        [found] = runner.run([RIGHT])
    except SandboxFailed:
        raise failure from None
    if found.passed != (True,):
        raise failure
