"""What operators ask of a worker that may fetch base models: to add one to the allow-list, to check one."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from app.tables.base import Base, JsonObject, created
from app.tables.statuses import BaseModelTaskKind, BaseModelTaskStatus


class BaseModelTask(Base):
    """One task. It belongs to the deployment, not to the project whose key asked for it."""

    __tablename__ = "base_model_tasks"
    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[BaseModelTaskKind]
    status: Mapped[BaseModelTaskStatus]
    asked: Mapped[JsonObject]  # as it was sent: app.platform.base_models
    progress: Mapped[str | None]  # what its worker does now
    error: Mapped[str | None]
    result: Mapped[JsonObject | None]
    worker: Mapped[str | None]
    attempt: Mapped[int] = mapped_column(default=0)  # counts claims: an earlier one writes nothing
    lease_until: Mapped[datetime | None]
    notified_at: Mapped[datetime | None]  # when a worker was last told of it
    created_by: Mapped[str | None]  # as of datasets
    creator: Mapped[str | None]
    created_at: Mapped[datetime] = created()
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
