"""What people think of a verdict."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.tables.base import Base, Serial, created
from app.tables.data import Example
from app.tables.jobs import Job
from app.tables.platform import ApiKey
from app.tables.rationales import Rationale


class Override(Base):
    """A reviewer's verdict on one text of one example. Never changed: the newest of a text counts."""

    __tablename__ = "overrides"
    __table_args__ = (
        Index("ix_overrides_job_id_example_id", "job_id", "example_id"),
        Index("ix_overrides_example_id", "example_id"),
        Index("ix_overrides_rationale_id", "rationale_id"),
    )
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey(Job.id, ondelete="CASCADE"))
    rationale_id: Mapped[int] = mapped_column(ForeignKey(Rationale.id, ondelete="CASCADE"))
    example_id: Mapped[int] = mapped_column(ForeignKey(Example.id))
    text_sha256: Mapped[str]
    verdict: Mapped[str]  # correct | wrong
    reason: Mapped[str]
    key_id: Mapped[str] = mapped_column(ForeignKey(ApiKey.id), index=True)
    reviewer: Mapped[str]  # the key's name then; of a personal key the person's
    person: Mapped[str | None]  # as of the key
    created_at: Mapped[datetime] = created()
