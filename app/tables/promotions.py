"""Which adapter stands for a name at a stage, such as production, and who decided so on what evidence."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, false, text
from sqlalchemy.orm import Mapped, mapped_column

from app.tables.base import Base, JsonObject, created
from app.tables.platform import ApiKey, Project
from app.tables.rationales import Adapter

_CURRENT = text("ended_at IS NULL")


class Promotion(Base):
    """An adapter at a stage, from `created_at` to `ended_at`; one at a time for each name and stage."""

    __tablename__ = "promotions"
    __table_args__ = (
        Index(
            "uq_promotions_project_id_name_stage",
            "project_id",
            "name",
            "stage",
            unique=True,
            sqlite_where=_CURRENT,
            postgresql_where=_CURRENT,
        ),
        Index("ix_promotions_project_id_id", "project_id", "id"),
        Index("ix_promotions_adapter_id", "adapter_id"),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey(Project.id))
    name: Mapped[str]
    stage: Mapped[str]
    adapter_id: Mapped[str] = mapped_column(ForeignKey(Adapter.id, ondelete="CASCADE"))
    forced: Mapped[bool] = mapped_column(default=False, server_default=false())
    reason: Mapped[str | None]
    receipt: Mapped[JsonObject]  # as it was then: app.results.quality.receipts.ReceiptOut
    over_previous: Mapped[JsonObject | None]  # the paired difference to the one before, where there is one
    key_id: Mapped[str] = mapped_column(ForeignKey(ApiKey.id), index=True)
    promoted_by: Mapped[str]  # the key's name then
    created_at: Mapped[datetime] = created()
    ended_at: Mapped[datetime | None]  # None: it stands
