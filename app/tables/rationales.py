"""What jobs make: rationales, training sets, adapters, answers on held-out examples."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Double, ForeignKey, Index, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column

from app.tables.base import Base, JsonObject, Serial, created
from app.tables.data import Example
from app.tables.jobs import Iteration, Job
from star_engine.adapters.roles import AdapterRole
from star_engine.sampling.rationales import Route

# What became of a rationale, as one text: an index over it serves filters by any of the four. With the
# parentheses that PostgreSQL gives back, or the comparison with the migrations takes it for another.
OUTCOME = (
    "((((((route || '/') || verdict) || '/') || coalesce(decision, '')) || '/') || coalesce(reason, ''))"
)


class Rationale(Base):
    """One try at one example."""

    __tablename__ = "rationales"
    __table_args__ = (
        UniqueConstraint("iteration_id", "example_id", "route", "sample"),
        Index("ix_rationales_job_id_id", "job_id", "id"),
        Index("ix_rationales_job_id_iteration_number_id", "job_id", "iteration_number", "id"),
        Index("ix_rationales_job_id_route_id", "job_id", "route", "id"),
        Index("ix_rationales_job_id_verdict_id", "job_id", "verdict", "id"),
        Index("ix_rationales_job_id_decision_id", "job_id", "decision", "id"),
        Index("ix_rationales_job_id_reason_id", "job_id", "reason", "id"),
        Index("ix_rationales_job_id_outcome_id", "job_id", text(OUTCOME), "id"),
        Index("ix_rationales_example_id_job_id_id", "example_id", "job_id", "id"),
    )
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey(Job.id, ondelete="CASCADE"))
    iteration_id: Mapped[int] = mapped_column(ForeignKey(Iteration.id, ondelete="CASCADE"))
    iteration_number: Mapped[int]
    example_id: Mapped[int] = mapped_column(ForeignKey(Example.id))
    route: Mapped[Route]
    sample: Mapped[int]
    text: Mapped[str]
    extracted: Mapped[str | None]
    # A VerdictCode or, after a vote, outvoted | no_majority: as open as the verifiers and labels are.
    verdict: Mapped[str]
    rule: Mapped[str]
    checks: Mapped[JsonObject | None]  # {"hint_free": true}: passed or not; None: not checked
    tools: Mapped[JsonObject | None]  # a ToolUse, as JSON; None: the job has no tool
    reward: Mapped[float | None] = mapped_column(
        Double
    )  # -1 to 1, by the scorer of a controller; None: there is none
    reading: Mapped[list[Any] | None]  # [place in the text, log-probability of the answer behind it]
    decision: Mapped[str | None]  # kept | dropped; None until the training set is built
    reason: Mapped[str | None]
    override_id: Mapped[int | None] = mapped_column(BigInteger)  # a reviewer's verdict that decided instead
    prompt_tokens: Mapped[int]
    tokens: Mapped[int]
    finish_reason: Mapped[str]
    sampler_adapter_id: Mapped[str | None]  # None: the base model
    request_sha256: Mapped[str | None] = mapped_column(
        index=True
    )  # None: it would be answered again each time
    reused: Mapped[bool] = mapped_column(server_default=false())  # found on record, instead of sampled
    created_at: Mapped[datetime] = created()


class TrainingExample(Base):
    """One row of an iteration's training set, made from exactly one rationale, its hint stripped."""

    __tablename__ = "training_examples"
    __table_args__ = (UniqueConstraint("iteration_id", "position"),)
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    iteration_id: Mapped[int] = mapped_column(ForeignKey(Iteration.id, ondelete="CASCADE"))
    rationale_id: Mapped[int] = mapped_column(ForeignKey(Rationale.id, ondelete="CASCADE"), unique=True)
    position: Mapped[int]
    prompt: Mapped[str]
    completion: Mapped[str]
    masked: Mapped[list[Any] | None]  # spans of the completion that are not learned: [start, end, origin]
    turns: Mapped[list[Any] | None]  # parts of the completion that are tokens by themselves: [start, tokens]


class Adapter(Base):
    """LoRA weights of one iteration and role. `verification` stays empty until they are proven to load."""

    __tablename__ = "adapters"
    __table_args__ = (
        Index("uq_adapters_job_id_iteration_number_role", "job_id", "iteration_number", "role", unique=True),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey(Job.id, ondelete="CASCADE"))
    iteration_number: Mapped[int]
    role: Mapped[AdapterRole] = mapped_column(default=AdapterRole.GENERATOR, server_default="generator")
    files: Mapped[list[Any]]  # [{"path", "size_bytes", "sha256"}]
    training: Mapped[JsonObject]  # steps, loss, examples seen, seconds
    verification: Mapped[JsonObject | None]
    pinned: Mapped[bool] = mapped_column(default=False, server_default=false())  # kept whatever the retention
    deleted_at: Mapped[datetime | None]  # its weights are gone; its card and manifest stay
    created_at: Mapped[datetime] = created()


class TrainingCurve(Base):
    """Every optimizer step of an iteration's training: written at resume points and at the end."""

    __tablename__ = "training_curves"
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    iteration_id: Mapped[int] = mapped_column(ForeignKey(Iteration.id, ondelete="CASCADE"), unique=True)
    steps: Mapped[list[Any]]  # [step, loss, gradient norm, learning rate, tokens since step 0]


class Evaluation(Base):
    """One held-out example answered once, with an adapter or by a few-shot baseline."""

    __tablename__ = "evaluations"
    __table_args__ = (
        UniqueConstraint("iteration_id", "mode", "example_id"),
        Index("ix_evaluations_example_id", "example_id"),
    )
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    iteration_id: Mapped[int] = mapped_column(ForeignKey(Iteration.id, ondelete="CASCADE"))
    mode: Mapped[str]  # an EvaluationMode; of another dataset with "/" and its id behind it
    example_id: Mapped[int] = mapped_column(ForeignKey(Example.id))
    text: Mapped[str]
    extracted: Mapped[str | None]
    verdict: Mapped[str]
    tokens: Mapped[int]
    finish_reason: Mapped[str]
    request_sha256: Mapped[str | None] = mapped_column(index=True)  # as of a rationale
    reused: Mapped[bool] = mapped_column(server_default=false())
    tools: Mapped[JsonObject | None]  # as of a rationale
    created_at: Mapped[datetime] = created()


class TrialAnswer(Base):
    """A question of a trial and its answer, once a worker has asked it."""

    __tablename__ = "trial_answers"
    __table_args__ = (UniqueConstraint("job_id", "asked", "position"),)
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey(Job.id, ondelete="CASCADE"))
    asked: Mapped[str]  # adapter | base
    position: Mapped[int]
    example: Mapped[JsonObject]  # {question, answer, choices, group}; answer may be null
    text: Mapped[str | None]
    extracted: Mapped[str | None]
    verdict: Mapped[str | None]  # None where no answer was given to hold it against
    tokens: Mapped[int | None]
    finish_reason: Mapped[str | None]
    thoughts: Mapped[list[Any] | None]  # of an adapter that thinks: [token, thought] of each token
