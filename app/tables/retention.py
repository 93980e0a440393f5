"""How long a project keeps what it no longer needs."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.tables.base import Base, created
from app.tables.platform import Project


class RetentionRule(Base):
    """Days after the end of a job, or after a file's upload. None, or no row at all: for good."""

    __tablename__ = "retention_rules"
    project_id: Mapped[str] = mapped_column(ForeignKey(Project.id), primary_key=True)
    text_days: Mapped[int | None]
    event_days: Mapped[int | None]
    file_days: Mapped[int | None]
    created_at: Mapped[datetime] = created()
