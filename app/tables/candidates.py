"""What is looked into beside training: many answers to one question, a verifier's pairs, thoughts in text."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Double, ForeignKey, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from app.tables.base import Base, JsonObject, Serial, created
from app.tables.data import Example
from app.tables.jobs import Iteration


class Candidate(Base):
    """One of the answers to a held-out question: of an iteration's adapter, or of the base model (0)."""

    __tablename__ = "candidates"
    __table_args__ = (UniqueConstraint("iteration_id", "example_id", "sample"),)
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    iteration_id: Mapped[int] = mapped_column(ForeignKey(Iteration.id, ondelete="CASCADE"))
    example_id: Mapped[int] = mapped_column(ForeignKey(Example.id), index=True)
    sample: Mapped[int]
    text: Mapped[str]
    extracted: Mapped[str | None]
    canonical: Mapped[str | None]  # what a vote counts
    verdict: Mapped[str]
    rule: Mapped[str]
    prompt_tokens: Mapped[int]
    tokens: Mapped[int]
    finish_reason: Mapped[str]
    scores: Mapped[JsonObject | None]  # {"generator": [logarithm of the probability, tokens]}, by scorer
    sampler_adapter_id: Mapped[str | None]  # None: the base model
    request_sha256: Mapped[str | None] = mapped_column(index=True)  # as of a rationale
    reused: Mapped[bool] = mapped_column(server_default=false())
    tools: Mapped[JsonObject | None]  # as of a rationale
    created_at: Mapped[datetime] = created()


class QuestionCurve(Base):
    """What k candidates of one held-out question come to, for each k of the job's settings."""

    __tablename__ = "question_curves"
    __table_args__ = (UniqueConstraint("iteration_id", "example_id"),)
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    iteration_id: Mapped[int] = mapped_column(ForeignKey(Iteration.id, ondelete="CASCADE"))
    example_id: Mapped[int] = mapped_column(ForeignKey(Example.id), index=True)
    answers: Mapped[int]
    right: Mapped[int]
    unparsed: Mapped[int]
    solutions: Mapped[int]
    entropy: Mapped[float] = mapped_column(Double)
    curves: Mapped[JsonObject]  # {"pass": [...], "majority": [...], "best_of/generator": [...]}


class PreferencePair(Base):
    """Two texts behind one prompt, the first to be preferred. The tries are named by iteration and sample."""

    __tablename__ = "preference_pairs"
    __table_args__ = (UniqueConstraint("iteration_id", "position"),)
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    iteration_id: Mapped[int] = mapped_column(ForeignKey(Iteration.id, ondelete="CASCADE"))
    position: Mapped[int]
    example_id: Mapped[int] = mapped_column(ForeignKey(Example.id), index=True)
    chosen_iteration: Mapped[int]
    chosen_sample: Mapped[int]
    rejected_iteration: Mapped[int]
    rejected_sample: Mapped[int]
    prompt: Mapped[str]
    chosen: Mapped[str]
    rejected: Mapped[str]
    held_out: Mapped[bool] = mapped_column(server_default=false())  # measured on, not learned
    weight: Mapped[float] = mapped_column(Double)
    reference_chosen: Mapped[float | None] = mapped_column(Double)  # logarithm of its probability
    reference_rejected: Mapped[float | None] = mapped_column(Double)


class VerifierCurve(Base):
    """Every optimizer step of an iteration's training of a verifier, as of a TrainingCurve."""

    __tablename__ = "verifier_curves"
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    iteration_id: Mapped[int] = mapped_column(ForeignKey(Iteration.id, ondelete="CASCADE"), unique=True)
    steps: Mapped[list[Any]]  # [step, loss, gradient norm, learning rate, tokens, margin, pair accuracy]


class Thought(Base):
    """A thought before a token, and what it was worth there."""

    __tablename__ = "thoughts"
    __table_args__ = (UniqueConstraint("iteration_id", "position"),)
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    iteration_id: Mapped[int] = mapped_column(ForeignKey(Iteration.id, ondelete="CASCADE"))
    position: Mapped[int]  # those with the largest gains come first, then those that were drawn evenly
    before: Mapped[str]  # the end of the text that it follows
    thought: Mapped[str]
    token: Mapped[str]  # that follows
    gain: Mapped[float] = mapped_column(Double)  # in nats: how much likelier the token became
    nll: Mapped[float] = mapped_column(Double)  # of the token without the thought, in nats
    drawn: Mapped[bool]
