"""What executes the calls of texts that call a tool while somebody reads along."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Lock
from typing import TypeVar

import structlog

from app.ledger.queue.capacity import SANDBOX_OK
from app.settings import Settings
from star_engine.config.tools import PythonTool
from star_engine.tasks.programs.execution import CodeRunner, Execution, Program
from worker.sandbox.calculations import WithCalculations
from worker.sandbox.local import default_size
from worker.sandbox.runner import probed_runner
from worker.sandbox.turns import Turns
from worker.sandbox.unrunnable import executions
from worker.serving.waiting import Full

log = structlog.get_logger()

NOT_PROBED = "Its sandbox is still being probed."
T = TypeVar("T")


class NoSandbox(RuntimeError):
    """No program of this tool is executed here; the message says why."""


class Tools:
    """At most `serving_queue` texts call tools at once, half of them for one project. For several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._limit = settings.serving_queue
        self._held: Counter[str] = Counter()  # texts, by project
        self._lock = Lock()
        self._turns = Turns(settings.sandbox_size or default_size(), "tools")
        self._runner: CodeRunner | None = None
        self.problem: str | None = NOT_PROBED  # why no CPython runs here; None: it does

    def probe(self) -> None:
        """Try the sandbox out, and use it where it confines what must be confined. Takes seconds."""
        self._runner, self.problem = probed_runner(self._settings)
        log.info("sandbox_probed", problem=self.problem)

    @property
    def sandbox(self) -> str | None:
        """What the ledger is told: SANDBOX_OK, or why no CPython runs here; None: not probed yet."""
        return None if self.problem == NOT_PROBED else self.problem or SANDBOX_OK

    def close(self) -> None:
        self._turns.close()

    @contextmanager
    def room(self, project_id: str, texts: int) -> Iterator[None]:
        """Hold the places of so many texts. Raises Full."""
        with self._lock:
            if self._held.total() + texts > self._limit:
                raise Full("More texts that call tools are being written than this server takes.")
            if self._held[project_id] + texts > max(self._limit // 2, 1):
                raise Full("This project has half of this server's texts that call tools already.")
            self._held[project_id] += texts
        try:
            yield
        finally:
            with self._lock:
                self._held[project_id] -= texts

    def check(self, tool: PythonTool) -> None:
        """Raises NoSandbox where the tool's programs do not run here."""
        if tool.runtime == "cpython" and self.problem is not None:
            raise NoSandbox(f"This server executes no code. {self.problem}")

    def submit(self, project_id: str, work: Callable[[], T]) -> Future[T]:
        """Have it done once it is the project's turn. One that is cancelled before is not begun."""
        return self._turns.submit(project_id, work)

    def run(self, programs: Sequence[Program], project_id: str) -> list[Execution]:
        """Execute them, in the sandbox or the interpreter of calculations. Raises SandboxFailed."""
        return list(executions(WithCalculations(self._runner), programs, project_id))
