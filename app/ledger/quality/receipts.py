"""Reads what an adapter's receipt rests on: held-out outcomes, votes, many answers, and churn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.ledger.jobs.outcomes import read_churns, read_iterations, read_outcomes, read_vote
from app.ledger.jobs.relations import direct_outcome
from app.tables.candidates import QuestionCurve
from app.tables.jobs import Iteration, Job
from star_engine.evaluation.accuracy import EvaluationMode
from star_engine.evaluation.collapse import (
    CollapseMeasures,
    Measured,
    QuestionSpread,
    measure_collapse,
    measured_of,
)
from star_engine.evaluation.comparison import choices, evidence_so_far
from star_engine.evaluation.receipt import Evidence, Receipt, make_receipt
from star_engine.evaluation.report import Churn, Outcomes, method_of, reference
from star_engine.loop import PhaseName


def read_receipt(session: Session, job: Job, iteration: int) -> Receipt:
    """The receipt of a job's adapter."""
    iterations = read_iterations(session, job)
    outcomes = read_outcomes(session, iterations)
    turns = [one for one in iterations if one.number <= iteration]
    evidence = Evidence(
        outcomes=outcomes,
        planned=choices(job.config, outcomes),
        direct=direct_outcome(session, job),
        vote=read_vote(session, job, iterations),
        collapse=collapse_of(
            session, iterations, outcomes, iteration, read_churns(session, turns).get(iteration)
        ),
    )
    return make_receipt(evidence, iteration, method_of(job.config))


def read_evidence(
    session: Session, job: Job, iteration: int, *, many_answers: bool = False
) -> Evidence | None:
    """What is known as soon as an iteration's adapter is evaluated; None where it answered nothing.

    many_answers: it has also given many to each question. Its phase is not closed yet: the caller knows that
    no step of it is open.
    """
    turns = [one for one in read_iterations(session, job) if one.number <= iteration]
    own = [one for one in turns if one.number == iteration]
    outcomes = [*read_outcomes(session, [one for one in turns if one not in own])]
    outcomes += [one for one in read_outcomes(session, own, closed=False) if one.correct]
    if outcomes and outcomes[-1].iteration == iteration:
        chosen = [one for one in turns if many_answers and one.number in (0, iteration)]
        measured = list(_measured(session, chosen, closed=False))
        return evidence_so_far(job.config, outcomes, iteration, read_vote(session, job, turns), measured)
    return None


def collapse_of(
    session: Session,
    iterations: Sequence[Iteration],
    outcomes: Sequence[Outcomes],
    iteration: int,
    churned: Churn | None,
) -> CollapseMeasures:
    """What there is to tell by whether the iteration's model has collapsed."""
    chosen = [one for one in iterations if one.number in (0, iteration)]
    own = (one for one in outcomes if one.mode is EvaluationMode.ADAPTER and one.iteration == iteration)
    measured = list(_measured(session, chosen))
    return measure_collapse(measured, iteration, next(own, None), reference(outcomes), churned)


def _measured(
    session: Session, iterations: Sequence[Iteration], *, closed: bool = True
) -> Iterator[Measured]:
    """Many answers to each question, where the phase is done.

    closed: whether it has to be closed; if not, the caller knows that all questions are answered.
    """
    for one in iterations:
        test_time = session.get_one(Job, one.job_id).config.evaluation.test_time
        done = PhaseName.TEST_TIME in one.phases_done and "test_time" in one.metrics
        if closed and not done:
            continue
        rows = session.scalars(select(QuestionCurve).where(QuestionCurve.iteration_id == one.id)).all()
        questions = {
            row.example_id: QuestionSpread(
                row.right, row.solutions, row.entropy, tuple(row.curves.get("pass", ()))
            )
            for row in rows
        }
        if done:
            yield measured_of(one.number, one.metrics["test_time"]["ks"], questions)
        elif test_time is not None and questions:
            yield measured_of(one.number, test_time.all_ks, questions)
