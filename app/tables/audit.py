"""The audit log's table. The database refuses to change or delete its rows (migrations, audit_log)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from app.tables.base import Base, Serial, created


class AuditEntry(Base):
    """One changed object. No foreign keys: the object may have been deleted."""

    __tablename__ = "audit_log"
    __table_args__ = (
        Index("ix_audit_log_project_id_id", "project_id", "id"),
        Index("ix_audit_log_target_id", "target", "id"),
    )
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    project_id: Mapped[str]  # whose object it is
    key_id: Mapped[str]  # whose key asked
    request_id: Mapped[str]
    action: Mapped[str]  # "POST /v1/jobs/{job_id}/cancel"
    change: Mapped[str]  # created | changed | deleted
    target_type: Mapped[str]  # the table
    target: Mapped[str]  # the object's id
    fields: Mapped[list[Any]]  # of what was changed: names of the columns, never what they hold
    reason: Mapped[str | None]  # that the request gave for it
    created_at: Mapped[datetime] = created()
