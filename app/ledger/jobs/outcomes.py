"""Which held-out examples a job has answered rightly: what reports and comparisons are made of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from app.tables.candidates import QuestionCurve
from app.tables.jobs import Iteration, Job
from app.tables.rationales import Evaluation, Rationale
from star_engine.evaluation.accuracy import COMPARED, EvaluationMode
from star_engine.evaluation.answer import Vote
from star_engine.evaluation.candidates import vote_of
from star_engine.evaluation.report import Churn, Outcomes, churn
from star_engine.loop import PhaseName
from star_engine.sampling.rationales import Route


def read_iterations(session: Session, job: Job) -> Sequence[Iteration]:
    """Ascending; number 0 holds the baselines."""
    query = select(Iteration).where(Iteration.job_id == job.id).order_by(Iteration.number)
    return session.scalars(query).all()


def read_vote(session: Session, job: Job, iterations: Sequence[Iteration]) -> Vote | None:
    """Read the base model's majority vote over all its answers; None where none was measured."""
    base = next((one for one in iterations if one.number == 0), None)
    if base is None or PhaseName.TEST_TIME not in base.phases_done:
        return None
    query = select(QuestionCurve.example_id, QuestionCurve.answers, QuestionCurve.curves)
    rows = session.execute(query.where(QuestionCurve.iteration_id == base.id)).all()
    return vote_of(job.config.evaluation.test_time, ((row[0], row[1], row[2]) for row in rows))


def read_outcomes(
    session: Session, iterations: Sequence[Iteration], *, closed: bool = True
) -> list[Outcomes]:
    """Read the outcomes of complete evaluations; half of one would compare other examples.

    closed: whether their phase has to be closed; if not, the caller knows that all is answered.
    """
    done = {
        iteration.id: iteration.number
        for iteration in iterations
        if not closed
        or (PhaseName.EVALUATE if iteration.number else PhaseName.BASELINES) in iteration.phases_done
    }
    query = select(
        Evaluation.iteration_id, Evaluation.mode, Evaluation.example_id, Evaluation.verdict == "correct"
    ).where(
        Evaluation.iteration_id.in_(list(done)),
        Evaluation.mode.in_([*COMPARED]),  # not what was measured along
    )
    found: dict[tuple[int, str], dict[int, bool]] = defaultdict(dict)
    for iteration_id, mode, example_id, correct in session.execute(query):
        found[done[iteration_id], mode][example_id] = bool(correct)
    return [
        Outcomes(EvaluationMode(mode), number, correct) for (number, mode), correct in sorted(found.items())
    ]


def read_churns(session: Session, iterations: Sequence[Iteration]) -> dict[int, Churn]:
    """The churn of the train examples by iteration number, of those iterations that are sampled."""
    sampled = [one.id for one in iterations if one.number and PhaseName.SAMPLE in one.phases_done]
    query = (
        select(
            Rationale.iteration_number,
            Rationale.example_id,
            func.max(case((Rationale.verdict == "correct", 1), else_=0)),
        )
        .where(Rationale.iteration_id.in_(sampled), Rationale.route == Route.GENERATED)
        .group_by(Rationale.iteration_number, Rationale.example_id)
    )
    tries = ((number, example, bool(solved)) for number, example, solved in session.execute(query))
    return {row.iteration: row for row in churn(tries)}
