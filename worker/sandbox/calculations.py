"""Calculations of a text that its model is writing: in the interpreter of this process's children."""

from __future__ import annotations

import atexit
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from star_engine.tasks.programs.execution import CodeRunner, Execution, Program, SandboxFailed
from worker.sandbox.local import default_size
from worker.sandbox.monty import MontyRunner


@cache
def interpreter() -> MontyRunner:
    """The interpreters of this process, started when the first calculation comes."""
    found = MontyRunner(default_size())
    atexit.register(found.close)
    return found


@dataclass(frozen=True, slots=True)
class WithCalculations:
    """A CodeRunner that has calculations interpreted, and all else executed by the sandbox, if there is one.

    A call of it holds programs of one sort, as a text and a verdict do.
    """

    sandbox: CodeRunner | None

    def run(self, programs: Sequence[Program], owner: str = "") -> Iterator[Execution]:
        """Execute the programs, several at once; results come in their order. Raises SandboxFailed."""
        if programs and all(program.embedded for program in programs):
            return interpreter().run(programs, owner)
        if self.sandbox is None:
            raise SandboxFailed("no sandbox is installed in this process, so no code is executed")
        return self.sandbox.run(programs, owner)
