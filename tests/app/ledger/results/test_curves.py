"""The curve of a training in the ledger: one row, in which steps that are done again stand once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import func, select

from app.database import reading, transaction
from app.ledger.queue.steps import Claim, Fenced, claim_step
from app.ledger.results.curves import read_curve, record_curve
from app.ledger.results.rationales import claimed_iteration
from app.tables.rationales import TrainingCurve
from star_engine.protocols import TrainingProgress
from tests.app.api_harness import Api


def steps(first: int, last: int, loss: float) -> list[TrainingProgress]:
    return [
        TrainingProgress(n, 6, loss, tokens=10 * n, grad_norm=0.5, learning_rate=1e-4)
        for n in range(first, last + 1)
    ]


def claimed(api: Api) -> Claim:
    api.job()
    claim = claim_step(api.engine, "worker:1", 60)
    assert claim is not None
    return claim


def test_steps_that_a_later_attempt_does_again_stand_once(api: Api) -> None:
    claim = claimed(api)
    for batch in (steps(1, 2, 3.0), steps(3, 4, 2.0), steps(3, 6, 1.0), []):
        with transaction(api.engine) as session:
            record_curve(session, claim, batch)
    with reading(api.engine) as session:
        found = read_curve(session, claimed_iteration(session, claim).id)
        assert session.scalar(select(func.count()).select_from(TrainingCurve)) == 1
    assert [(one.step, one.loss) for one in found] == [
        (1, 3.0),
        (2, 3.0),
        (3, 1.0),
        (4, 1.0),
        (5, 1.0),
        (6, 1.0),
    ]
    assert [(one.tokens, one.step_tokens) for one in found[:2]] == [(10, 10), (20, 10)]


def test_steps_that_a_trainer_without_memory_does_again_stand_once(api: Api) -> None:
    """It has told of steps 3 to 5 when it starts again from its resume point behind step 2."""
    claim = claimed(api)
    for batch in (steps(1, 2, 3.0), [*steps(3, 5, 2.0), *steps(3, 6, 1.0)]):
        with transaction(api.engine) as session:
            record_curve(session, claim, batch)
    with reading(api.engine) as session:
        found = read_curve(session, claimed_iteration(session, claim).id)
    losses = [(1, 3.0), (2, 3.0), (3, 1.0), (4, 1.0), (5, 1.0), (6, 1.0)]
    assert [(one.step, one.loss) for one in found] == losses
    assert {one.step_tokens for one in found} == {10}


def test_a_worker_that_lost_its_step_records_nothing(api: Api) -> None:
    claim = claimed(api)
    with pytest.raises(Fenced), transaction(api.engine) as session:
        record_curve(session, replace(claim, fence=claim.fence - 1), steps(1, 2, 3.0))
    with reading(api.engine) as session:
        assert read_curve(session, claimed_iteration(session, claim).id) == []
