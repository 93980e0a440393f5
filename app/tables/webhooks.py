"""Tables of webhooks and their deliveries."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.tables.base import Base, created
from app.tables.jobs import Job
from app.tables.platform import Project


class Webhook(Base):
    """A receiver of events. Its secret is in no table: it follows from the deployment's own (ADR 7)."""

    __tablename__ = "webhooks"
    __table_args__ = (Index("ix_webhooks_project_id_id", "project_id", "id"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey(Project.id))
    job_id: Mapped[str | None] = mapped_column(
        ForeignKey(Job.id, ondelete="CASCADE"), index=True
    )  # None: of every job
    url: Mapped[str]
    events: Mapped[list[Any]]  # types such as job.succeeded, or job.* or *
    description: Mapped[str]
    enabled: Mapped[bool] = mapped_column(default=True)
    secret_version: Mapped[int] = mapped_column(default=1)
    old_secret_until: Mapped[datetime | None]  # the version before signs too, until then
    unanswered: Mapped[int | None]  # attempts on end that nobody answered
    quiet_until: Mapped[datetime | None]  # slow or silent: nothing is sent before then
    created_at: Mapped[datetime] = created()


class WebhookDelivery(Base):
    """One event for one webhook, written in the event's own transaction; also the log of its attempts."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        Index("ix_webhook_deliveries_webhook_id_id", "webhook_id", "id"),
        Index("ix_webhook_deliveries_next_try_at", "next_try_at"),
    )
    id: Mapped[str] = mapped_column(
        primary_key=True
    )  # the same on every attempt: receivers know repeats by it
    webhook_id: Mapped[str] = mapped_column(ForeignKey(Webhook.id, ondelete="CASCADE"))
    job_id: Mapped[str | None] = mapped_column(
        ForeignKey(Job.id, ondelete="CASCADE"), index=True
    )  # None: a test
    seq: Mapped[int | None]  # of the job's event
    event_type: Mapped[str]
    status: Mapped[str]  # pending | delivered | failed
    attempts: Mapped[int] = mapped_column(default=0)  # begun; also the fence of a sender's claim
    attempts_before: Mapped[int | None]  # of them, those before it was last sent again by hand
    next_try_at: Mapped[datetime | None]  # None: never again. While an attempt runs: the end of its lease
    response_code: Mapped[int | None]
    error: Mapped[str | None]
    log: Mapped[list[Any]]  # one {attempt, at, response_code, error, seconds} per attempt
    created_at: Mapped[datetime] = created()
    finished_at: Mapped[datetime | None]
