"""Programs of a claimed step: found among what the project has executed, or executed once and recorded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from threading import Lock

from sqlalchemy import Engine

from app.database import reading, transaction
from app.errors import Unavailable
from app.failpoints import failpoint
from app.grader import project_grader
from app.ledger.queue.steps import Claim
from app.ledger.results.executions import record_execution, recorded_execution
from app.settings import Settings
from star_engine.loop import PhaseName
from star_engine.tasks.programs.execution import (
    CodeRunner,
    Execution,
    Program,
    current_runner,
    has_runner,
    using_runner,
)
from star_engine.tasks.registry import task_of
from worker.sandbox.calculations import WithCalculations
from worker.sandbox.unrunnable import executions


@dataclass(frozen=True, slots=True)
class RecordedRunner:
    """Executes what nobody of the project has executed before, and records it before anything is judged.

    So a step that is done again judges its texts by the same executions, whatever a program does by chance.
    """

    engine: Engine
    project_id: str
    job_id: str
    phase: PhaseName
    behind: CodeRunner
    turns: defaultdict[str, Lock] = field(default_factory=lambda: defaultdict(Lock))  # by program

    def run(self, programs: Sequence[Program], owner: str = "") -> Iterator[Execution]:
        with ExitStack() as turns:  # of equal programs that texts judged side by side have, one is executed
            for sha256 in sorted({program.sha256 for program in programs}):
                turns.enter_context(self.turns[sha256])
            yield from self._run(programs)

    def _run(self, programs: Sequence[Program]) -> Iterator[Execution]:
        with reading(self.engine) as session:
            known = [recorded_execution(session, self.project_id, program) for program in programs]
        new = [program for program, found in zip(programs, known, strict=True) if found is None]
        executed = executions(self.behind, new, self.project_id)
        for program, found in zip(programs, known, strict=True):
            yield found or self._record(program, next(executed))

    def _record(self, program: Program, found: Execution) -> Execution:
        failpoint("execution.before_commit")
        with transaction(self.engine) as session:
            record_execution(session, self.project_id, self.job_id, self.phase, program, found)
        with reading(self.engine) as session:  # another worker may have been first: one answer for all
            return recorded_execution(session, self.project_id, program) or found


@contextmanager
def recording(engine: Engine, settings: Settings, claim: Claim) -> Iterator[None]:
    """Record what is executed and asked for a claimed step, where its texts are judged so or call a tool."""
    task = task_of(claim.config.kind)
    behind: CodeRunner | None = current_runner() if has_runner() else None
    if task.runs_programs and not task.needs_sandbox:
        with suppress(Unavailable):  # without a secret nobody is asked: see current_runner
            behind = project_grader(settings, claim.project_id, behind)
    tool = claim.config.tools.python
    if tool is not None and tool.runtime == "embedded":
        behind = WithCalculations(behind)
    if not claim.config.executes or behind is None:
        yield
        return
    with using_runner(RecordedRunner(engine, claim.project_id, claim.job_id, claim.phase, behind)):
        yield
