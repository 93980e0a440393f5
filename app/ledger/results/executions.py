"""Programs that were executed: recorded once, replayed after, and counted for their project."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.ledger.results.rationales import insert_once
from app.tables.executions import Execution as ExecutionRow
from star_engine.loop import PhaseName
from star_engine.tasks.programs.execution import Execution, Program, execution_from


def recorded_execution(session: Session, project_id: str, program: Program) -> Execution | None:
    """What came of this program when a job of the project executed it; None where none has."""
    row = session.get(ExecutionRow, (project_id, program.sha256))
    return None if row is None else execution_from(row.result)


def record_execution(
    session: Session, project_id: str, job_id: str, phase: PhaseName, program: Program, found: Execution
) -> None:
    """Record what came of a program. Where another worker was first, its answer stays."""
    values = {
        "project_id": project_id,
        "program_sha256": program.sha256,
        "job_id": job_id,
        "phase": phase,
        "result": found.as_json(),
        "cpu_ms": found.cpu_ms,
    }
    session.execute(insert_once(session, ExecutionRow).values(values))


def executed(session: Session, job_id: str) -> tuple[int, float]:
    """How many programs a job has executed, and their CPU seconds."""
    query = select(func.count(), func.coalesce(func.sum(ExecutionRow.cpu_ms), 0))
    count, milliseconds = session.execute(query.where(ExecutionRow.job_id == job_id)).one()
    return count, milliseconds / 1000
