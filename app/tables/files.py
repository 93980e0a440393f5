"""Files as the OpenAI client uploads them, and the jobs that were made from them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.tables.base import Base, created
from app.tables.jobs import Job
from app.tables.platform import Project


class File(Base):
    """Bytes as they were sent. They become a dataset when a job names them."""

    __tablename__ = "files"
    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey(Project.id), index=True)
    filename: Mapped[str]
    purpose: Mapped[str]
    sha256: Mapped[str] = mapped_column(index=True)  # its name in the storage
    area: Mapped[str | None]  # of the storage; None: among the artifacts, as the first files were
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = created()
    deleted_at: Mapped[datetime | None]  # the row goes with the bytes, a while later


class FineTuningJob(Base):
    """The request fields of the OpenAI facade that the job's own row does not hold."""

    __tablename__ = "fine_tuning_jobs"
    job_id: Mapped[str] = mapped_column(ForeignKey(Job.id, ondelete="CASCADE"), primary_key=True)
    training_file: Mapped[str]
    validation_file: Mapped[str | None]
