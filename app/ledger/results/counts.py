"""The counts of star_engine.record in SQL: what the metrics of an iteration's phases are made of."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.ledger.data.examples import guessing_chance, selected_positions
from app.ledger.queue.waves import selection_of
from app.ledger.results.answers import recorded_mode
from app.tables.candidates import QuestionCurve
from app.tables.data import Example
from app.tables.jobs import Iteration, Job
from app.tables.rationales import Adapter, Evaluation, Rationale
from star_engine.adapters.roles import AdapterRole
from star_engine.data.adaptive import Selected
from star_engine.diagnostics.spark import Answered
from star_engine.evaluation.accuracy import Accuracy, EvaluationMode, accuracy_of, outcome
from star_engine.evaluation.candidates import QuestionCurves
from star_engine.sampling.rationales import Route
from star_engine.tasks.programs.tool_use import ToolCounts, ToolUse, count_uses, tool_use_from
from star_engine.tasks.verdict import VerdictCode


@dataclass(frozen=True, slots=True)
class IterationCounts:
    """The counts of one iteration of a job."""

    session: Session
    job: Job
    iteration: Iteration

    def selected(self) -> int:
        selected, job = self.selection(), self.job
        if selected is not None:
            return len(selected.used_positions)
        return len(selected_positions(self.session, job.dataset_id, job.config, self.iteration.number))

    def selection(self) -> Selected | None:
        return selection_of(self.session, self.job.id, self.iteration.number)

    def verdicts(self) -> dict[str, dict[str, int]]:
        counts = self.session.execute(
            select(Rationale.route, Rationale.verdict, func.count())
            .where(Rationale.iteration_id == self.iteration.id)
            .group_by(Rationale.route, Rationale.verdict)
        )
        found: dict[str, dict[str, int]] = defaultdict(dict)
        for route, verdict, count in counts:
            found[str(route)][verdict] = count
        return dict(found)

    def solved(self) -> int:
        query = select(func.count(Rationale.example_id.distinct())).where(
            Rationale.iteration_id == self.iteration.id,
            Rationale.route == Route.GENERATED,
            Rationale.verdict == "correct",
        )
        return self.session.scalar(query) or 0

    def tool_use(self) -> dict[str, ToolCounts]:
        query = select(Rationale.route, Rationale.tools).where(
            Rationale.iteration_id == self.iteration.id, Rationale.tools.is_not(None)
        )
        uses: dict[str, list[ToolUse | None]] = defaultdict(list)
        for route, tools in self.session.execute(query):
            uses[str(route)].append(tool_use_from(tools))
        return {route: count_uses(known) for route, known in uses.items()}

    def reasons(self) -> list[tuple[str, str, int]]:
        found = self.session.execute(
            select(Rationale.route, Rationale.reason, func.count())
            .where(Rationale.iteration_id == self.iteration.id, Rationale.reason.is_not(None))
            .group_by(Rationale.route, Rationale.reason)
        )
        return [(str(route), reason or "", count) for route, reason, count in found]

    def covered(self) -> dict[str, int]:
        best_route = func.min(Rationale.route)  # "generated" sorts before "rationalized"
        per_example = (
            select(best_route.label("route"))
            .where(Rationale.iteration_id == self.iteration.id, Rationale.decision == "kept")
            .where(Rationale.route != Route.MIXED)
            .group_by(Rationale.example_id)
            .subquery()
        )
        query = select(per_example.c.route, func.count()).group_by(per_example.c.route)
        return {str(route): count for route, count in self.session.execute(query)}

    def accuracy(self, mode: EvaluationMode, dataset: str | None = None) -> Accuracy:
        rows = self.session.execute(
            select(Example.group, Evaluation.verdict, Evaluation.finish_reason, func.count())
            .join(Example, Example.id == Evaluation.example_id)
            .where(
                Evaluation.iteration_id == self.iteration.id,
                Evaluation.mode == recorded_mode(mode, dataset),
            )
            .group_by(Example.group, Evaluation.verdict, Evaluation.finish_reason)
        )
        groups: dict[str | None, Counter[str]] = defaultdict(Counter)
        for group, verdict, finish_reason, count in rows:
            groups[group][outcome(verdict, finish_reason)] += count
        return accuracy_of(groups)

    def failed(self, mode: EvaluationMode, count: int) -> list[Answered]:
        rows = self.session.execute(
            select(Evaluation, Example.question, Example.answer)
            .join(Example, Example.id == Evaluation.example_id)
            .where(Evaluation.iteration_id == self.iteration.id, Evaluation.mode == recorded_mode(mode, None))
            .where(Evaluation.verdict != VerdictCode.CORRECT.value)
            .order_by(Evaluation.example_id)
            .limit(count)
        )
        return [
            Answered(question, right, row.text, outcome(row.verdict, row.finish_reason))
            for row, question, right in rows
        ]

    def chance(self) -> float:
        return guessing_chance(self.session, self.job.dataset_id, self.job.config)

    def question_curves(self) -> list[QuestionCurves]:
        return read_question_curves(self.session, self.iteration.id)

    def training(self, role: AdapterRole = AdapterRole.GENERATOR) -> dict[str, Any]:
        query = select(Adapter.training).where(
            Adapter.job_id == self.job.id,
            Adapter.iteration_number == self.iteration.number,
            Adapter.role == role,
        )
        return dict(self.session.scalars(query).one_or_none() or {})


def ambiguous_by_rule(session: Session, job_id: str, number: int) -> dict[str, int]:
    """Ambiguous tries of an iteration without a hint, by the rule that says why."""
    query = select(Rationale.rule, func.count()).where(
        Rationale.job_id == job_id,
        Rationale.iteration_number == number,
        Rationale.verdict == VerdictCode.AMBIGUOUS.value,
        Rationale.route == Route.GENERATED,
    )
    return {rule: count for rule, count in session.execute(query.group_by(Rationale.rule))}  # noqa: C416


def read_question_curves(session: Session, iteration_id: int) -> list[QuestionCurves]:
    """Of every held-out question of an iteration, in the order of the examples."""
    query = (
        select(QuestionCurve, Example.external_id)
        .join(Example, Example.id == QuestionCurve.example_id)
        .where(QuestionCurve.iteration_id == iteration_id)
        .order_by(Example.position)
    )
    return [
        QuestionCurves(
            example_id=name,
            answers=row.answers,
            right=row.right,
            unparsed=row.unparsed,
            solutions=row.solutions,
            entropy=row.entropy,
            curves={method: tuple(values) for method, values in row.curves.items()},
        )
        for row, name in session.execute(query)
    ]
