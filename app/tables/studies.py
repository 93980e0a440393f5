"""Blind studies of rationales: the pairs that raters are shown, and what they prefer."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.tables.base import Base, JsonObject, Serial, created
from app.tables.data import Example
from app.tables.jobs import Job
from app.tables.platform import ApiKey, Project


class Study(Base):
    """A study of what one iteration of a job wrote to held-out questions, beside few-shot and people."""

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
    key_id: Mapped[str] = mapped_column(ForeignKey(ApiKey.id))
    choice: Mapped[str]  # first | second | tie
    created_at: Mapped[datetime] = created()
