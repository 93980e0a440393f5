"""The tables. Every row that a person can ask for carries, or hangs on a row that carries, a project_id."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, MetaData, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.database import UtcDateTime, clock

Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
Serial = BigInteger().with_variant(Integer(), "sqlite")  # SQLite autoincrements INTEGER keys only
JsonObject = dict[str, Any]

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map = {str: Text(), JsonObject: Json, list[Any]: Json, datetime: UtcDateTime()}


def created() -> Mapped[datetime]:
    return mapped_column(default=clock())


class Project(Base):
    """A team's own world: its keys see its objects and nothing else."""

    __tablename__ = "projects"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    served_at: Mapped[datetime | None]  # when a worker last claimed a step of it: fair dispatch reads this
    created_at: Mapped[datetime] = created()


class ApiKey(Base):
    """The secret is shown once; only its SHA-256 is kept (it is random, so a fast hash is right)."""

    __tablename__ = "api_keys"
    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str]
    secret_sha256: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[list[Any]]  # of read, submit, admin
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = created()


class Dataset(Base):
    """Uploaded examples, with splits. The same bytes read the same way are one dataset."""

    __tablename__ = "datasets"
    __table_args__ = (UniqueConstraint("project_id", "sha256"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str]
    kind: Mapped[str]
    sha256: Mapped[str]  # of the bytes and of how they were read (kind, split rule, seed)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    splits: Mapped[JsonObject]  # {"train": 600, "validation": 200}
    created_at: Mapped[datetime] = created()


class Example(Base):
    """Question and answer. `position` counts from 0 within the split: shards are ranges of positions."""

    __tablename__ = "examples"
    __table_args__ = (
        UniqueConstraint("dataset_id", "external_id"),
        UniqueConstraint("dataset_id", "split", "position"),
    )
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"))
    split: Mapped[str]
    position: Mapped[int]
    external_id: Mapped[str]  # the row's own id, or its line number
    question: Mapped[str]
    answer: Mapped[str]
    choices: Mapped[list[Any] | None] = mapped_column(Json)
    group: Mapped[str | None]


class PromptSet(Base):
    """The handful of hand-written few-shot examples."""

    __tablename__ = "prompt_sets"
    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str]
    kind: Mapped[str]
    examples: Mapped[list[Any]]
    sha256: Mapped[str]
    created_at: Mapped[datetime] = created()


class Model(Base):
    """A base model of the allow-list. Workers refuse files whose sha256 is not the one written here."""

    __tablename__ = "models"
    id: Mapped[str] = mapped_column(primary_key=True)  # the name that jobs ask for
    location: Mapped[str]  # a folder, or a hub id
    revision: Mapped[str | None]  # of a hub id: a commit
    files: Mapped[JsonObject]  # file name -> sha256
    context_length: Mapped[int]  # tokens
    license: Mapped[str | None]
    created_at: Mapped[datetime] = created()


class Job(Base):
    """One STaR run. `status` is changed by app.ledger.transitions alone."""

    __tablename__ = "jobs"
    __table_args__ = (Index("ix_jobs_project_id_id", "project_id", "id"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str]
    status: Mapped[str]
    phase: Mapped[str | None]
    iteration: Mapped[int] = mapped_column(default=0)
    stop_reason: Mapped[str | None]
    status_reason: Mapped[JsonObject | None]  # {code, message, hint}: why it is paused or has failed
    config: Mapped[JsonObject]  # a StarConfig
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"))
    prompt_set_id: Mapped[str] = mapped_column(ForeignKey("prompt_sets.id"))
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"))
    priority: Mapped[int] = mapped_column(default=0)
    labels: Mapped[JsonObject]  # the user's own metadata
    created_by: Mapped[str] = mapped_column(ForeignKey("api_keys.id"))
    events_written: Mapped[int] = mapped_column(default=0)  # the last event's seq: gapless per job
    created_at: Mapped[datetime] = created()
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Iteration(Base):
    """One turn of the outer loop; number 0 holds the baselines."""

    __tablename__ = "iterations"
    __table_args__ = (UniqueConstraint("job_id", "number"),)
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    number: Mapped[int]
    phases_done: Mapped[list[Any]]
    metrics: Mapped[JsonObject]  # solve_rate, coverage, accuracy, ... as the phases close
    training_set_sha256: Mapped[str | None]
    created_at: Mapped[datetime] = created()
    finished_at: Mapped[datetime | None]


class Step(Base):
    """A unit of work that one worker claims, with a lease and a fence."""

    __tablename__ = "steps"
    __table_args__ = (
        UniqueConstraint("job_id", "iteration_number", "phase", "shard"),
        Index("ix_steps_status_priority_id", "status", "priority", "id"),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    iteration_number: Mapped[int]
    phase: Mapped[str]
    shard: Mapped[int]
    work: Mapped[JsonObject]  # what to do: {"start": 0, "stop": 128} positions of the iteration's selection
    model_id: Mapped[str]
    priority: Mapped[int]
    status: Mapped[str]
    attempt: Mapped[int] = mapped_column(default=0)
    fence: Mapped[int] = mapped_column(BigInteger, default=0)
    lease_owner: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    progress: Mapped[JsonObject]  # {"done": 64, "total": 128, ...}: shown to people, decides nothing
    error: Mapped[JsonObject | None]
    checkpoint: Mapped[JsonObject | None]  # training: {"name", "files": [{path, sha256}]}, for any machine
    rung_at: Mapped[datetime | None]  # when the doorbell was last rung
    created_at: Mapped[datetime] = created()
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Rationale(Base):
    """One try at one example."""

    __tablename__ = "rationales"
    __table_args__ = (
        UniqueConstraint("iteration_id", "example_id", "route", "sample"),
        Index("ix_rationales_job_id_id", "job_id", "id"),
        Index("ix_rationales_example_id", "example_id"),
    )
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    iteration_id: Mapped[int] = mapped_column(ForeignKey("iterations.id", ondelete="CASCADE"))
    iteration_number: Mapped[int]
    example_id: Mapped[int] = mapped_column(ForeignKey("examples.id"))
    route: Mapped[str]  # generated | rationalized
    sample: Mapped[int]
    text: Mapped[str]
    extracted: Mapped[str | None]
    verdict: Mapped[str]  # correct | wrong | unparsed | ambiguous | error
    rule: Mapped[str]
    decision: Mapped[str | None]  # kept | dropped; None until the training set is built
    reason: Mapped[str | None]
    prompt_tokens: Mapped[int]
    tokens: Mapped[int]
    finish_reason: Mapped[str]
    sampler_adapter_id: Mapped[str | None]  # None: the base model
    created_at: Mapped[datetime] = created()


class TrainingExample(Base):
    """One row of an iteration's training set, made from exactly one rationale, its hint stripped."""

    __tablename__ = "training_examples"
    __table_args__ = (UniqueConstraint("iteration_id", "position"),)
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    iteration_id: Mapped[int] = mapped_column(ForeignKey("iterations.id", ondelete="CASCADE"))
    rationale_id: Mapped[int] = mapped_column(ForeignKey("rationales.id", ondelete="CASCADE"), unique=True)
    position: Mapped[int]
    prompt: Mapped[str]
    completion: Mapped[str]


class Adapter(Base):
    """The LoRA weights of one iteration. `verification` stays empty until they are proven to load."""

    __tablename__ = "adapters"
    __table_args__ = (UniqueConstraint("job_id", "iteration_number"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    iteration_number: Mapped[int]
    files: Mapped[list[Any]]  # [{"path", "size_bytes", "sha256"}]
    training: Mapped[JsonObject]  # steps, loss, examples seen, seconds
    verification: Mapped[JsonObject | None]
    created_at: Mapped[datetime] = created()


class Evaluation(Base):
    """One held-out example answered once, with an adapter or by a few-shot baseline."""

    __tablename__ = "evaluations"
    __table_args__ = (UniqueConstraint("iteration_id", "mode", "example_id"),)
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    iteration_id: Mapped[int] = mapped_column(ForeignKey("iterations.id", ondelete="CASCADE"))
    mode: Mapped[str]  # few_shot_direct | few_shot_cot | adapter
    example_id: Mapped[int] = mapped_column(ForeignKey("examples.id"))
    text: Mapped[str]
    extracted: Mapped[str | None]
    verdict: Mapped[str]
    tokens: Mapped[int]
    finish_reason: Mapped[str]
    created_at: Mapped[datetime] = created()


class Event(Base):
    """What happened to a job, append-only."""

    __tablename__ = "events"
    __table_args__ = (UniqueConstraint("job_id", "seq"),)
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
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


class Counter(Base):
    """How often something happened that leaves no other trace, such as a refused effect."""

    __tablename__ = "counters"
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger)


class Worker(Base):
    """A worker that has asked for work: one pool child, so a restart makes a new one."""

    __tablename__ = "workers"
    id: Mapped[str] = mapped_column(primary_key=True)
    seen_at: Mapped[datetime]


class IdempotencyKey(Base):
    """Written in the transaction of the job that it stands for."""

    __tablename__ = "idempotency_keys"
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]  # sha256 of the request body
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = created()
