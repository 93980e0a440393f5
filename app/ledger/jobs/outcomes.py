"""Which held-out examples a job has answered rightly: what reports and comparisons are made of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.tables.candidates import QuestionCurve
from app.tables.jobs import Iteration, Job
from app.tables.rationales import Evaluation
from star_engine.evaluation.accuracy import EvaluationMode
from star_engine.evaluation.answer import Vote
from star_engine.evaluation.report import Outcomes
from star_engine.loop import PhaseName


def read_iterations(session: Session, job: Job) -> Sequence[Iteration]:
    """Ascending; number 0 holds the baselines."""
    query = select(Iteration).where(Iteration.job_id == job.id).order_by(Iteration.number)
    return session.scalars(query).all()


def read_vote(session: Session, job: Job, iterations: Sequence[Iteration]) -> Vote | None:
    """Read the base model's majority vote over all its answers; None where none was measured.

    Of all answers there is one draw, so that each question's vote is won or not.
    """
    test_time = job.config.evaluation.test_time
    base = next((one for one in iterations if one.number == 0), None)
    if test_time is None or base is None or PhaseName.TEST_TIME not in base.phases_done:
        return None
    if "majority" not in test_time.methods or test_time.all_ks[-1] != test_time.samples:
        return None
    query = select(QuestionCurve.example_id, QuestionCurve.answers, QuestionCurve.curves)
    rows = session.execute(query.where(QuestionCurve.iteration_id == base.id)).all()
    voted = {row.example_id: row.curves.get("majority", [0.0])[-1] > 0.5 for row in rows}
    same = all(row.answers == test_time.samples for row in rows)  # else they are of the job that it forks
    return Vote(test_time.samples, voted) if same else None


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
