"""The curve of a training: loss, gradient norm, learning rate and tokens of every optimizer step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from app.ledger.queue.steps import Claim, check_fence
from app.ledger.results.rationales import claimed_iteration
from app.tables.candidates import VerifierCurve
from app.tables.rationales import TrainingCurve
from star_engine.adapters.roles import AdapterRole
from star_engine.protocols import TrainingProgress


@dataclass(frozen=True, slots=True)
class CurveStep:
    """One optimizer step."""

    step: int
    loss: float
    grad_norm: float  # before it is clipped
    learning_rate: float
    tokens: int  # since step 0
    step_tokens: int  # of this step's batch


def record_curve(
    session: Session,
    claim: Claim,
    steps: Sequence[TrainingProgress],
    role: AdapterRole = AdapterRole.GENERATOR,
) -> None:
    """Add these steps; later ones, of an attempt before, make way. Raises Fenced.

    A trainer that ran out of memory starts again from its last resume point: of steps that it has done twice
    the second ones count.
    """
    if not steps:
        return
    newest = {one.step: one for one in steps}
    steps = [newest[step] for step in sorted(newest)]
    check_fence(session, claim)
    iteration = claimed_iteration(session, claim)
    added: list[list[float | None]] = [
        [one.step, round(one.loss, 6), round(one.grad_norm, 6), one.learning_rate, one.tokens]
        for one in steps
    ]
    table: type[TrainingCurve] | type[VerifierCurve] = TrainingCurve
    if role is AdapterRole.VERIFIER:
        table = VerifierCurve
        pairs = ((one.margin, one.pair_accuracy) for one in steps)
        added = [[*row, *_rounded(found)] for row, found in zip(added, pairs, strict=True)]
    query = select(table).where(table.iteration_id == iteration.id)
    known: Any = session.scalars(query).one_or_none()
    if known is None:
        session.add(table(iteration_id=iteration.id, steps=added))
    else:
        known.steps = [row for row in known.steps if row[0] < steps[0].step] + added


def curve_end(session: Session, claim: Claim, role: AdapterRole = AdapterRole.GENERATOR) -> int:
    """The last optimizer step on record of the claim's training; 0 before the first."""
    table = VerifierCurve if role is AdapterRole.VERIFIER else TrainingCurve
    iteration = claimed_iteration(session, claim)
    steps = session.scalar(select(table.steps).where(table.iteration_id == iteration.id))
    return int(steps[-1][0]) if steps else 0


def curve_start(session: Session, claim: Claim, role: AdapterRole = AdapterRole.GENERATOR) -> float | None:
    """The loss of the first optimizer step of the claim's training; None where it is not on record."""
    table = VerifierCurve if role is AdapterRole.VERIFIER else TrainingCurve
    iteration = claimed_iteration(session, claim)
    steps = session.scalar(select(table.steps).where(table.iteration_id == iteration.id))
    return float(steps[0][1]) if steps and steps[0][0] == 1 else None


def _rounded(found: tuple[float | None, ...]) -> list[float | None]:
    return [None if one is None else round(one, 6) for one in found]


def read_curve(session: Session, iteration_id: int) -> list[CurveStep]:
    """Return the steps in order; empty before the first checkpoint and for trainings before
    curves were stored.
    """
    found = session.scalars(_of(iteration_id)).one_or_none()
    steps: list[CurveStep] = []
    for step, loss, norm, rate, tokens in found.steps if found is not None else ():
        before = steps[-1].tokens if steps else 0
        steps.append(CurveStep(step, loss, norm, rate, tokens, tokens - before))
    return steps


def _of(iteration_id: int) -> Select[TrainingCurve]:
    return select(TrainingCurve).where(TrainingCurve.iteration_id == iteration_id)
