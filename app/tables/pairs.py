"""Pairs of a right and a wrong try at one question, as a verifier learns them, and its training's curve."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Double, ForeignKey, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from app.tables.base import Base, Serial
from app.tables.data import Example
from app.tables.jobs import Iteration


class PreferencePair(Base):
    """Two texts behind one prompt, the first to be preferred. The tries are named by iteration and sample."""

    __tablename__ = "preference_pairs"
    __table_args__ = (UniqueConstraint("iteration_id", "position"),)
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    iteration_id: Mapped[int] = mapped_column(ForeignKey(Iteration.id, ondelete="CASCADE"))
    position: Mapped[int]
    example_id: Mapped[int] = mapped_column(ForeignKey(Example.id))
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
