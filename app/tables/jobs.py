"""Tables of jobs, iterations, steps, events and notifications."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import Any

from pydantic import ValidationError
from sqlalchemy import BigInteger, Double, ForeignKey, Index, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from app.tables.base import Base, Deletable, JsonObject, Serial, created
from app.tables.data import Dataset, Model, PromptSet
from app.tables.platform import ApiKey, Project
from app.tables.statuses import JobStatus, Purpose, StepStatus
from star_engine.config.star import StarConfig
from star_engine.loop import PhaseName, StopReason


class Job(Deletable, Base):
    """One STaR run. `status` is changed by app.ledger.transitions alone."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_project_id_id", "project_id", "id"),
        Index("ix_jobs_project_id_spec_sha256", "project_id", "spec_sha256"),
        Index("ix_jobs_project_id_status_id", "project_id", "status", "id"),
        Index("ix_jobs_status", "status"),
        Index("ix_jobs_deleted_at", "deleted_at"),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey(Project.id))
    name: Mapped[str]
    status: Mapped[JobStatus]
    phase: Mapped[PhaseName | None]
    iteration: Mapped[int] = mapped_column(default=0)
    stop_reason: Mapped[StopReason | None]
    status_reason: Mapped[JsonObject | None]  # {code, message, hint}: why it is paused or has failed
    stored_config: Mapped[JsonObject] = mapped_column("config")  # a StarConfig, as JSON; never changed
    dataset_id: Mapped[str] = mapped_column(ForeignKey(Dataset.id), index=True)
    prompt_set_id: Mapped[str] = mapped_column(ForeignKey(PromptSet.id), index=True)
    model_id: Mapped[str] = mapped_column(ForeignKey(Model.id))
    priority: Mapped[int] = mapped_column(default=0)
    labels: Mapped[JsonObject]  # the user's own metadata
    purpose: Mapped[Purpose] = mapped_column(default=Purpose.STAR, server_default="star")
    adapter_id: Mapped[str | None]  # the adapter that an evaluation or a trial asks
    stands_for: Mapped[int | None]  # of a probe: train questions that an iteration of the job would ask
    retention: Mapped[JsonObject | None]  # {keep_last, keep_best, days}: what stays of its adapters
    budget_gpu_seconds: Mapped[float | None] = mapped_column(Double)
    deadline_at: Mapped[datetime | None]
    spec_sha256: Mapped[str | None]  # of all that the outcome follows from: equal jobs have equal ones
    created_by: Mapped[str] = mapped_column(ForeignKey(ApiKey.id), index=True)
    forked_from: Mapped[str | None] = mapped_column(index=True)  # id of the job whose iterations it took over
    baseline_of: Mapped[str | None] = mapped_column(index=True)  # id of the job that it was asked for beside
    baseline: Mapped[str | None]  # by which preset
    forked_from_iteration: Mapped[int | None]  # the last one taken over
    events_written: Mapped[int] = mapped_column(default=0)  # the last event's seq: gapless per job
    created_at: Mapped[datetime] = created()
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    archived_at: Mapped[datetime | None]  # left out of lists
    texts_removed_at: Mapped[datetime | None]  # as the project's retention says; so are its events
    texts_left: Mapped[bool] = mapped_column(default=False, server_default=false())  # of those: not all yet
    events_removed_at: Mapped[datetime | None]
    trace: Mapped[JsonObject | None]  # {traceparent, parent}: of the job's own span, and of who made it

    @cached_property
    def config(self) -> StarConfig:
        """The settings, validated when they are first asked for and once per row object.

        A column type would validate them with every row that is read, which takes 0.13 ms and fails for a job
        of a newer version with settings that this one does not know: one such job, and nothing would be
        listed, swept or cancelled any more. Raises pydantic.ValidationError for that job alone.
        """
        return StarConfig.model_validate(self.stored_config)


def known_settings(stored: JsonObject) -> StarConfig | None:
    """The same; None where only a newer version can read them."""
    try:
        return StarConfig.model_validate(stored)
    except ValidationError:
        return None


class Iteration(Base):
    """One turn of the outer loop; number 0 holds the baselines."""

    __tablename__ = "iterations"
    __table_args__ = (UniqueConstraint("job_id", "number"),)
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey(Job.id, ondelete="CASCADE"))
    number: Mapped[int]
    phases_done: Mapped[list[Any]]
    metrics: Mapped[JsonObject]  # solve_rate, coverage, accuracy, ... as the phases close
    training_set_sha256: Mapped[str | None]
    selection: Mapped[JsonObject | None]  # what it asks, where that is recorded: data/adaptive.py
    # Of an iteration that was taken over: what it was made with. None: the job's.
    stored_config: Mapped[JsonObject | None] = mapped_column("config")
    created_at: Mapped[datetime] = created()
    finished_at: Mapped[datetime | None]

    @cached_property
    def config(self) -> StarConfig | None:
        """As of a job."""
        return None if self.stored_config is None else StarConfig.model_validate(self.stored_config)


class Step(Base):
    """A unit of work that one worker claims, with a lease and a fence."""

    __tablename__ = "steps"
    __table_args__ = (
        UniqueConstraint("job_id", "iteration_number", "phase", "shard"),
        Index("ix_steps_status_priority_id", "status", "priority", "id"),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey(Job.id, ondelete="CASCADE"))
    iteration_number: Mapped[int]
    phase: Mapped[PhaseName]
    shard: Mapped[int]
    work: Mapped[JsonObject]  # what to do: {"start": 0, "stop": 128} positions of the iteration's selection
    model_id: Mapped[str]
    priority: Mapped[int]
    status: Mapped[StepStatus]
    attempt: Mapped[int] = mapped_column(default=0)
    fence: Mapped[int] = mapped_column(BigInteger, default=0)
    lease_owner: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    progress: Mapped[JsonObject]  # {"done": 64, "total": 128, ...}: shown to people, decides nothing
    error: Mapped[JsonObject | None]
    checkpoint: Mapped[JsonObject | None]  # training: {"name", "files": [{path, sha256}]}, for any machine
    not_before: Mapped[datetime | None]  # nobody claims it earlier: the platform has failed it
    passing_failures: Mapped[int] = mapped_column(
        default=0, server_default="0"
    )  # of the platform, no attempts
    failed_on: Mapped[str | None]  # the worker whose GPU failed it last: others are preferred for a while
    failed_at: Mapped[datetime | None]
    fails_anywhere: Mapped[bool] = mapped_column(default=False, server_default=false())  # on two of them
    notified_at: Mapped[datetime | None] = mapped_column("rung_at")  # when its last notification went out
    created_at: Mapped[datetime] = created()
    started_at: Mapped[datetime | None]  # of the last claim; later where it shared its worker's time
    finished_at: Mapped[datetime | None]
    traceparent: Mapped[str | None]  # of the span in which it was planned


class Event(Base):
    """What happened to a job, append-only."""

    __tablename__ = "events"
    __table_args__ = (UniqueConstraint("job_id", "seq"),)
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey(Job.id, ondelete="CASCADE"))
    seq: Mapped[int]
    type: Mapped[str]
    data: Mapped[JsonObject]
    created_at: Mapped[datetime] = created()


class Outbox(Base):
    """Rings to be sent: written with the step, deleted when the broker has taken it."""

    __tablename__ = "outbox"
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    step_id: Mapped[str]
    created_at: Mapped[datetime] = created()
    taken_until: Mapped[datetime | None]  # a relay sends it; others may after this


class IdempotencyKey(Base):
    """Written in the transaction of what it stands for: a job, or an object of another kind."""

    __tablename__ = "idempotency_keys"
    project_id: Mapped[str] = mapped_column(ForeignKey(Project.id), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]  # sha256 of the request
    job_id: Mapped[str | None] = mapped_column(ForeignKey(Job.id, ondelete="CASCADE"), index=True)
    object_id: Mapped[str | None]  # of what is no job
    created_at: Mapped[datetime] = created()
