"""Reading a finished or running job for its report: phases that are done, counted in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import extract, func, select
from sqlalchemy.orm import Session

from app.ledger.jobs.outcomes import read_churns, read_iterations, read_outcomes, read_vote
from app.ledger.jobs.relations import REPLICATE, Relative, baselines_of, direct_outcome, read_relatives
from app.ledger.jobs.replicates import read_over_seeds
from app.ledger.platform.prices import Held, Prices, held_by_iteration
from app.ledger.quality.receipts import collapse_of
from app.tables.data import Example
from app.tables.jobs import Iteration, Job, Step
from star_engine.evaluation.answer import Answer, answer
from star_engine.evaluation.collapse import CollapseMeasures
from star_engine.evaluation.comparison import choices
from star_engine.evaluation.receipt import Evidence, Receipt, make_receipt
from star_engine.evaluation.replicates import OverSeeds
from star_engine.evaluation.report import (
    AccuracyRow,
    Churn,
    Switch,
    accuracy_rows,
    method_of,
    switches,
)
from star_engine.evaluation.thoughts import thinking_answer
from star_engine.loop import PhaseName


@dataclass(frozen=True, slots=True)
class Coverage:
    """What one iteration solved and trained on; null if its phase is not done."""

    iteration: int
    solve_rate: float | None
    kept: dict[str, int] | None  # rows of the training set by route
    funnel: dict[str, dict[str, int]] | None  # route to stage to rationales: star_engine.filters.funnel
    coverage: dict[str, float] | None  # shares of the iteration's examples by route, and their total
    also: dict[str, Any] | None  # other datasets that were measured along, by id
    audits: dict[str, Any] | None  # star_engine.diagnostics.iteration
    control: dict[str, Any] | None  # what a controller has found: star_engine.evaluation.balance
    churn: Churn | None
    steps: int | None  # of the optimizer
    tool_use: dict[str, Any] | None = None  # by route: tool_use.ToolCounts
    tool_accuracy: dict[str, Any] | None = None  # by mode: accuracy with the tool, without it, with a hint


@dataclass(frozen=True, slots=True)
class PhaseCost:
    """Worker seconds of the last attempts of a phase's ended steps."""

    phase: str
    steps: int
    seconds: float


@dataclass(frozen=True, slots=True)
class JobReport:
    answer: Answer
    accuracies: tuple[AccuracyRow, ...]
    coverage: tuple[Coverage, ...]
    switches: tuple[Switch, ...]
    cost: tuple[PhaseCost, ...]
    relatives: tuple[Relative, ...]
    held: dict[int, Held] = field(default_factory=dict)  # GPU-hours by iteration
    prices: Prices | None = None  # at which they are shown; None: nobody has set any
    over_seeds: OverSeeds | None = None
    test_time: tuple[dict[str, Any], ...] = ()  # by iteration: star_engine.evaluation.candidates.summary
    method: str = "STaR"  # what made the adapters
    receipt: Receipt | None = None  # of the most accurate iteration
    collapse: CollapseMeasures | None = None  # of the last iteration, whichever is the most accurate one


def read_report(session: Session, job: Job, compared: Sequence[Job] = ()) -> JobReport:
    """Read everything known of the job: results, baselines, forks and the jobs named."""
    iterations = read_iterations(session, job)
    config = job.config
    outcomes = read_outcomes(session, iterations)
    method = method_of(config)
    planned = choices(config, outcomes)
    direct, vote = direct_outcome(session, job, compared), read_vote(session, job, iterations)
    said = answer(outcomes, method, planned=planned, direct=direct, vote=vote)
    if config.quiet_star is not None:
        said = _of_thoughts(session, job, method, iterations)
    coverage = _coverage(session, iterations)
    receipt, collapse = _receipt(
        session, iterations, coverage, Evidence(outcomes, planned, direct, vote), said.iteration, method
    )
    return JobReport(
        answer=said,
        receipt=receipt,
        collapse=collapse,
        method=method,
        accuracies=accuracy_rows(outcomes, _groups(session, job)),
        coverage=coverage,
        switches=switches(config),
        cost=_cost(session, job),
        held=held_by_iteration(session, job.id),
        relatives=read_relatives(session, job, compared),
        over_seeds=read_over_seeds(session, job),
        test_time=tuple(
            {"iteration": one.number, **one.metrics["test_time"]}
            for one in iterations
            if "test_time" in one.metrics
        ),
    )


def _of_thoughts(session: Session, job: Job, method: str, iterations: Sequence[Iteration]) -> Answer:
    """What thoughts were worth, beside the jobs that think something else on the same documents."""
    beside = {}
    for other in baselines_of(session, job.id):
        name = other.name if other.baseline == REPLICATE else method_of(other.config)
        if measured := _measured_thoughts(read_iterations(session, other)):
            beside[name] = measured[max(measured)]
    return thinking_answer(method, _measured_thoughts(iterations), beside)


def _measured_thoughts(iterations: Sequence[Iteration]) -> dict[int, dict[str, Any]]:
    return {one.number: one.metrics["thinking"] for one in iterations if "thinking" in one.metrics}


def _receipt(
    session: Session,
    iterations: Sequence[Iteration],
    coverage: Sequence[Coverage],
    evidence: Evidence,
    best: int | None,
    method: str,
) -> tuple[Receipt | None, CollapseMeasures | None]:
    """The receipt of the best iteration, and the measures of collapse of the last evaluated one."""
    evaluated = [one.iteration for one in evidence.outcomes if one.iteration]
    if best is None or not evaluated:
        return None, None
    churns = {row.iteration: row.churn for row in coverage}

    def measured(number: int) -> CollapseMeasures:
        return collapse_of(session, iterations, evidence.outcomes, number, churns.get(number))

    own = replace(evidence, collapse=measured(best))
    last = max(evaluated)
    return make_receipt(own, best, method), own.collapse if last == best else measured(last)


def read_coverage(session: Session, job: Job) -> tuple[Coverage, ...]:
    """Return the coverage of every iteration, in order."""
    return _coverage(session, read_iterations(session, job))


def _groups(session: Session, job: Job) -> dict[int, str]:
    split = job.config.evaluation.split
    query = select(Example.id, Example.group).where(
        Example.dataset_id == job.dataset_id, Example.split == split, Example.group.is_not(None)
    )
    return {example_id: group for example_id, group in session.execute(query) if group is not None}


def _coverage(session: Session, iterations: Sequence[Iteration]) -> tuple[Coverage, ...]:
    turns = [iteration for iteration in iterations if iteration.number > 0]
    churns = read_churns(session, turns)
    return tuple(_covered(turn.number, turn.metrics, churns.get(turn.number)) for turn in turns)


def _covered(number: int, metrics: dict[str, Any], churned: Churn | None) -> Coverage:
    training = metrics.get("training") or {}
    return Coverage(
        iteration=number,
        solve_rate=metrics.get("solve_rate"),
        kept=metrics.get("kept"),
        funnel=metrics.get("funnel"),
        coverage=metrics.get("coverage"),
        also=metrics.get("also"),
        audits=metrics.get("audits"),
        control=metrics.get("control"),
        churn=churned,
        steps=training.get("steps"),
        tool_use=metrics.get("tool_use"),
        tool_accuracy=metrics.get("tool_accuracy"),
    )


def _cost(session: Session, job: Job) -> tuple[PhaseCost, ...]:
    seconds = func.sum(extract("epoch", Step.finished_at) - extract("epoch", Step.started_at))
    query = (
        select(Step.phase, func.count(), seconds)
        .where(Step.job_id == job.id, Step.finished_at.is_not(None), Step.started_at.is_not(None))
        .group_by(Step.phase)
    )
    spent = {phase: (steps, float(total or 0)) for phase, steps, total in session.execute(query)}
    return tuple(PhaseCost(phase, *spent[phase]) for phase in PhaseName if phase in spent)
