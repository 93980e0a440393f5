"""Which held-out examples a job has answered rightly: what reports and comparisons are made of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.tables.jobs import Iteration, Job
from app.tables.rationales import Evaluation
from star_engine.evaluation.accuracy import EvaluationMode
from star_engine.evaluation.report import Outcomes
from star_engine.loop import PhaseName


def read_iterations(session: Session, job: Job) -> Sequence[Iteration]:
    """Ascending; number 0 holds the baselines."""
    query = select(Iteration).where(Iteration.job_id == job.id).order_by(Iteration.number)
    return session.scalars(query).all()


def read_outcomes(session: Session, iterations: Sequence[Iteration]) -> list[Outcomes]:
    """Read the outcomes of complete evaluations; half of one would compare other examples."""
    done = {
        iteration.id: iteration.number
        for iteration in iterations
        if (PhaseName.EVALUATE if iteration.number else PhaseName.BASELINES) in iteration.phases_done
    }
    query = select(
        Evaluation.iteration_id, Evaluation.mode, Evaluation.example_id, Evaluation.verdict == "correct"
    ).where(
        Evaluation.iteration_id.in_(list(done)),
        Evaluation.mode.in_([*EvaluationMode]),  # not what was measured along
    )
    found: dict[tuple[int, str], dict[int, bool]] = defaultdict(dict)
    for iteration_id, mode, example_id, correct in session.execute(query):
        found[done[iteration_id], mode][example_id] = bool(correct)
    return [
        Outcomes(EvaluationMode(mode), number, correct) for (number, mode), correct in sorted(found.items())
    ]
