"""What a project may use at most."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Double, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.tables.base import Base, created
from app.tables.platform import Project


class Quota(Base):
    """Set by operators. None, or no row at all: without a limit."""

    __tablename__ = "quotas"
    project_id: Mapped[str] = mapped_column(ForeignKey(Project.id), primary_key=True)
    running_jobs: Mapped[int | None]
    queued_jobs: Mapped[int | None]
    gpu_hours: Mapped[float | None] = mapped_column(Double)  # per calendar month, UTC
    dataset_bytes: Mapped[int | None] = mapped_column(BigInteger)
    adapter_bytes: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = created()
