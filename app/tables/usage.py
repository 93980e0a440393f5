"""Usage: of GPUs, one row per ended claim of a step; of models that people ask, one row per day."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Double, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.tables.base import Base, Serial, created
from app.tables.platform import Project
from star_engine.loop import PhaseName


class Usage(Base):
    """Written in the transaction that ends the claim, so nothing is counted twice and nothing is lost.

    Jobs and steps are named without a foreign key: what was spent outlives what it was spent on.
    """

    __tablename__ = "usage"
    __table_args__ = (
        UniqueConstraint("step_id", "fence"),
        Index("ix_usage_project_id_created_at", "project_id", "created_at"),
        Index("ix_usage_job_id", "job_id"),
    )
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey(Project.id))
    job_id: Mapped[str]
    step_id: Mapped[str]
    fence: Mapped[int] = mapped_column(BigInteger)  # tells the claims of one step apart
    attempt: Mapped[int]
    iteration_number: Mapped[int]
    phase: Mapped[PhaseName]
    worker_id: Mapped[str]
    gpu_seconds: Mapped[float] = mapped_column(Double)  # 0 for a phase that needs no GPU
    model_id: Mapped[str | None]  # None: from before it was noted
    gpu_class: Mapped[str | None]  # of the worker, as it stated it
    gpus: Mapped[int] = mapped_column(default=1, server_default="1")  # that the worker has
    outcome: Mapped[str]  # succeeded | failed | handed_back | lost
    created_at: Mapped[datetime] = created()  # when the claim ended


class TextUsage(Base):
    """What a project had written by a model on one day, outside of jobs.

    Models are named without a foreign key: what was written outlives who wrote it.
    """

    __tablename__ = "text_usage"
    project_id: Mapped[str] = mapped_column(ForeignKey(Project.id), primary_key=True)
    day: Mapped[str] = mapped_column(primary_key=True)  # 2026-01-31, UTC: when the text ended
    model: Mapped[str] = mapped_column(primary_key=True)  # id of a base model or an adapter
    base_model: Mapped[str]
    texts: Mapped[int] = mapped_column(BigInteger)
    prompt_tokens: Mapped[int] = mapped_column(BigInteger)  # of each text's prompt
    completion_tokens: Mapped[int] = mapped_column(BigInteger)
    executions: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")  # that texts called
    cpu_ms: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")  # of these programs
