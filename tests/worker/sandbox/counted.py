"""A runner that counts what comes to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from star_engine.tasks.programs.execution import CodeRunner, Execution, Program


class Counted:
    """A runner, and how often each program came to it."""

    def __init__(self, behind: CodeRunner) -> None:
        self.behind, self.times = behind, Counter[str]()

    def run(self, programs: Sequence[Program], owner: str = "") -> Iterator[Execution]:
        self.times.update(program.sha256 for program in programs)
        yield from self.behind.run(programs, owner)
