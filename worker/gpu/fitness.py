"""Whether the GPUs of a worker may be trusted with a step: a self-test before the first claim and after every
failure, and quarantine (app/ledger/queue/quarantine.py) where they cannot.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from app.database import reading, transaction
from app.ledger.queue.capacity import saw_worker
from app.ledger.queue.quarantine import failed_only_here, note_sick, sick_because
from app.settings import Settings
from worker.gpu.process import child_environment

log = structlog.get_logger()

SELF_TEST_SECONDS = 180.0  # importing torch takes 5 from a slow disk 60; a GPU that hangs never answers
WORDS = 600  # characters of what the self-test said


class Fitness:
    """What one worker knows of its GPUs. Where it computes on the CPU, it is always fit.

    `self_test` returns why no step may run here, or None.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        worker_id: str,
        self_test: Callable[[], str | None] | None = None,
    ) -> None:
        self._engine = engine
        self._worker_id = worker_id
        self._trusted = settings.device == "cpu"
        self._jobs = settings.quarantine_after
        self._self_test = self_test or (lambda: run_self_test(settings))
        self._passed = False  # its self-test, since its last failure
        self._sick: str | None = None  # what an operator has to release
        self._noted = False  # the same, in the ledger
        self._failures: dict[str, str] = {}  # job to step: in a row, without a step done between them

    def may_claim(self) -> bool:
        """Test the GPUs where that is due. Raises SQLAlchemyError where the ledger cannot be asked."""
        if self._trusted:
            return True
        if self._sick is not None and not self._released():
            return False
        if not self._passed and (problem := self._self_test()) is not None:
            self._quarantine(f"The self-test failed: {problem}")
            return False
        self._passed = True
        return True

    @property
    def sick(self) -> bool:
        """Whether it waits for an operator."""
        return self._sick is not None

    def succeeded(self) -> None:
        """A step was done here: what failed before it was not the GPU's fault."""
        self._failures.clear()

    def failed(self, job_id: str, step_id: str) -> None:
        """The GPU process failed a step, which the ledger has recorded."""
        if self._trusted:
            return
        self._passed = False
        self._failures[job_id] = step_id
        try:
            with reading(self._engine) as session:
                here = failed_only_here(session, self._worker_id, self._failures.values())
        except SQLAlchemyError as error:
            log.warning("failures_not_read", error=type(error).__name__)
            return
        self._failures = {job: step for job, step in self._failures.items() if step in here}
        if 0 < self._jobs <= len(self._failures):
            jobs = ", ".join(self._failures)
            self._quarantine(
                f"The GPU process failed steps of {len(self._failures)} jobs in a row, which have "
                f"failed nowhere else: {jobs}."
            )

    def _released(self) -> bool:
        """Whether an operator has released it since; where the ledger does not know of it yet, it is told."""
        if not self._noted:
            self._note()
            return False
        with reading(self._engine) as session:
            if sick_because(session, self._worker_id) is not None:
                return False
        log.info("worker_released")
        self._sick, self._failures, self._passed = None, {}, False
        return True

    def _quarantine(self, reason: str) -> None:
        log.error("worker_quarantined", reason=reason)
        self._sick, self._noted = reason, False
        with suppress(SQLAlchemyError):
            self._note()

    def _note(self) -> None:
        with transaction(self._engine) as session:
            saw_worker(session, self._worker_id)
            note_sick(session, self._worker_id, self._sick or "")
        self._noted = True


def run_self_test(settings: Settings) -> str | None:
    """Why the GPUs of this machine are unfit: a product on each, in a process that ends afterwards.

    Less memory than the operator states is unfit too: steps that need it would be given to this worker.
    """
    command = [sys.executable, "-m", "star_engine.gpu.self_test", settings.device, str(settings.gpus)]
    if settings.gpu_memory_gib is not None:
        command.append(str(settings.gpu_memory_gib))
    try:
        done = subprocess.run(
            command,
            env=child_environment(settings.threads),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SELF_TEST_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {SELF_TEST_SECONDS:.0f} s."
    if done.returncode == 0:
        return None
    said = (done.stdout.strip() or done.stderr.strip().rpartition("\n")[2])[-WORDS:]
    return said or f"it ended with status {done.returncode}."
