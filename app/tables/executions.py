"""Tables of programs that were executed for jobs."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.tables.base import Base, JsonObject, created
from app.tables.platform import Project
from star_engine.loop import PhaseName


class Execution(Base):
    """What came of one program. A project's equal programs are executed once; the answer is replayed after.

    The job is named without a foreign key: what was spent outlives what it was spent on.
    """

    __tablename__ = "executions"
    __table_args__ = (
        Index("ix_executions_project_id_created_at", "project_id", "created_at"),
        Index("ix_executions_job_id", "job_id"),
    )
    project_id: Mapped[str] = mapped_column(ForeignKey(Project.id), primary_key=True)
    program_sha256: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str]  # whose program it was first
    phase: Mapped[PhaseName | None]  # of that job; None: recorded by a version that did not say
    result: Mapped[JsonObject]  # star_engine.tasks.programs.execution.Execution, as JSON
    cpu_ms: Mapped[int]
    created_at: Mapped[datetime] = created()
