"""What workers did for a job, for people who look into it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.tables.base import Base, Serial, created
from app.tables.jobs import Job


class JobLog(Base):
    """One line: the end of a claim, whatever it was. Written in the transaction that records that end."""

    __tablename__ = "job_logs"
    __table_args__ = (Index("ix_job_logs_job_id_id", "job_id", "id"),)
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey(Job.id, ondelete="CASCADE"))
    iteration_number: Mapped[int]
    phase: Mapped[str]
    shard: Mapped[int]
    attempt: Mapped[int]
    worker: Mapped[str | None]
    level: Mapped[str]  # info | warning | error
    text: Mapped[str]
    trace: Mapped[str | None]  # of the exception, for operators
    created_at: Mapped[datetime] = created()
