"""What people decide by: adapters promoted to a stage, blind studies of rationales, links to reports."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column

from app.tables.base import Base, JsonObject, Serial, created
from app.tables.data import Example
from app.tables.jobs import Job
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


class Study(Base):
    """Compares what one iteration of a job wrote to held-out questions with few-shot prompting and people."""

    __tablename__ = "studies"
    __table_args__ = (
        Index("ix_studies_project_id_id", "project_id", "id"),
        Index("ix_studies_job_id", "job_id"),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey(Project.id))
    job_id: Mapped[str] = mapped_column(ForeignKey(Job.id, ondelete="CASCADE"))
    iteration_number: Mapped[int]
    name: Mapped[str]
    settings: Mapped[JsonObject]  # {"arms", "questions", "only_right", "seed"}
    created_at: Mapped[datetime] = created()


class StudyPair(Base):
    """Two rationales of one question as they are shown. The texts are the study's own."""

    __tablename__ = "study_pairs"
    __table_args__ = (
        UniqueConstraint("study_id", "position"),
        Index("ix_study_pairs_example_id", "example_id"),
    )
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    study_id: Mapped[str] = mapped_column(ForeignKey(Study.id, ondelete="CASCADE"))
    position: Mapped[int]
    example_id: Mapped[int] = mapped_column(ForeignKey(Example.id, ondelete="CASCADE"))
    first_arm: Mapped[str]
    second_arm: Mapped[str]
    first_text: Mapped[str]
    second_text: Mapped[str]


class StudyRating(Base):
    """What a rater prefers of a pair. Never changed: the newest of a rater counts."""

    __tablename__ = "study_ratings"
    __table_args__ = (Index("ix_study_ratings_pair_id", "pair_id"),)
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    pair_id: Mapped[int] = mapped_column(ForeignKey(StudyPair.id, ondelete="CASCADE"))
    rater: Mapped[str]
    key_id: Mapped[str] = mapped_column(ForeignKey(ApiKey.id), index=True)
    choice: Mapped[str]  # first | second | tie
    created_at: Mapped[datetime] = created()


class ShareLink(Base):
    """A link that shows one job's report to whoever has it, without a key, until it expires or is revoked."""

    __tablename__ = "share_links"
    __table_args__ = (
        Index("ix_share_links_project_id_id", "project_id", "id"),
        Index("ix_share_links_job_id", "job_id"),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey(Project.id))
    job_id: Mapped[str] = mapped_column(ForeignKey(Job.id, ondelete="CASCADE"))
    secret_sha256: Mapped[str]  # of what follows the id in the link: random, so a fast hash is right
    note: Mapped[str | None]  # for whom it was made
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    created_by: Mapped[str | None]  # as of datasets
    creator: Mapped[str | None]
    created_at: Mapped[datetime] = created()
