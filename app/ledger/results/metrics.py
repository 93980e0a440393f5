"""What a finished phase adds to its iteration's metrics: counted in SQL, stored on the iteration's row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.ledger.data.examples import guessing_chance, selected_positions
from app.ledger.results.evaluation_modes import recorded_mode
from app.tables.base import JsonObject
from app.tables.data import Example
from app.tables.jobs import Iteration, Job
from app.tables.rationales import Adapter, Evaluation, Rationale
from star_engine.config.star import StarConfig
from star_engine.config.training_set import Source
from star_engine.diagnostics.spark import MOST_SHOWN, Answered, spark_facts, spark_mode
from star_engine.evaluation.accuracy import Accuracy, EvaluatedAnswer, EvaluationMode, outcome, summarise
from star_engine.evaluation.report import group_accuracy
from star_engine.filters.funnel import KEPT, funnel
from star_engine.loop import PhaseName
from star_engine.sampling.rationales import Route
from star_engine.tasks.verdict import VerdictCode


def phase_metrics(session: Session, job: Job, iteration: Iteration, phase: PhaseName) -> JsonObject:
    """Metrics that became known with this phase; keys are those of GET /v1/jobs/{id}/iterations/{n}."""
    if phase is PhaseName.SAMPLE:
        return _sampled(session, job, iteration)
    if phase is PhaseName.BUILD:
        return _kept(session, job, iteration)
    if phase is PhaseName.TRAIN:
        adapter = session.scalars(
            select(Adapter).where(Adapter.job_id == job.id, Adapter.iteration_number == iteration.number)
        ).one()
        return {"training": adapter.training}
    if phase is PhaseName.BASELINES:
        return _baselines(session, job, iteration)
    if phase is PhaseName.EVALUATE:
        found = _accuracy(session, iteration, "adapter")
        return {
            "accuracy": found["accuracy"],
            "accuracy_by_group": found["by_group"],
            "groups": found["groups"],
            "evaluated": {key: found[key] for key in ("n", "unparsed", "truncated")},
            **_also(session, iteration, job.config, EvaluationMode.ADAPTER),
        }
    return {}


def selected_count(session: Session, job: Job, number: int) -> int:
    """How many train examples iteration `number` asks."""
    config = job.config
    return len(selected_positions(session, job.dataset_id, config, number))


def _baselines(session: Session, job: Job, iteration: Iteration) -> JsonObject:
    config = job.config
    found = {str(mode): _accuracy(session, iteration, mode) for mode in config.evaluation.baselines}
    best = max(float(one["accuracy"]) for one in found.values())
    asked = spark_mode(list(found))
    chance = guessing_chance(session, job.dataset_id, config)
    spark = spark_facts(asked, found[asked], chance, config, _failed(session, iteration, asked))
    also = _also(session, iteration, config, EvaluationMode.FEW_SHOT_COT)
    return {"baselines": found, "accuracy": best, **spark, **also}


def _failed(session: Session, iteration: Iteration, mode: str) -> list[Answered]:
    """The first held-out examples that a baseline did not get right."""
    rows = session.execute(
        select(Evaluation, Example.question, Example.answer)
        .join(Example, Example.id == Evaluation.example_id)
        .where(Evaluation.iteration_id == iteration.id, Evaluation.mode == mode)
        .where(Evaluation.verdict != VerdictCode.CORRECT.value)
        .order_by(Evaluation.example_id)
        .limit(MOST_SHOWN)
    )
    return [
        Answered(question, right, row.text, outcome(row.verdict, row.finish_reason))
        for row, question, right in rows
    ]


def _also(session: Session, iteration: Iteration, config: StarConfig, mode: EvaluationMode) -> JsonObject:
    """Accuracy on the datasets that are measured along, by id; nothing where there are none."""
    found = {}
    for dataset_id in config.evaluation.also:
        measured = _accuracy(session, iteration, recorded_mode(mode, dataset_id))
        found[dataset_id] = {"accuracy": measured["accuracy"], "n": measured["n"]}
    return {"also": found} if found else {}


def _sampled(session: Session, job: Job, iteration: Iteration) -> JsonObject:
    counts = session.execute(
        select(Rationale.route, Rationale.verdict, func.count())
        .where(Rationale.iteration_id == iteration.id)
        .group_by(Rationale.route, Rationale.verdict)
    )
    sampled: dict[str, dict[str, int]] = defaultdict(dict)
    for route, verdict, count in counts:
        sampled[route][verdict] = count
    solved = session.scalar(
        select(func.count(Rationale.example_id.distinct())).where(
            Rationale.iteration_id == iteration.id,
            Rationale.route == Route.GENERATED,
            Rationale.verdict == "correct",
        )
    )
    if Route.GIVEN in _routes(job):
        return {"sampled": dict(sampled)}  # nothing was asked, so nothing was solved
    return {
        "sampled": dict(sampled),
        "solve_rate": _share(solved or 0, selected_count(session, job, iteration.number)),
    }


def _kept(session: Session, job: Job, iteration: Iteration) -> JsonObject:
    found = session.execute(
        select(Rationale.route, Rationale.reason, func.count())
        .where(Rationale.iteration_id == iteration.id, Rationale.reason.is_not(None))
        .group_by(Rationale.route, Rationale.reason)
    )
    counts = [(route, reason or "", count) for route, reason, count in found]
    kept = dict.fromkeys(_routes(job), 0)
    dropped: dict[Route, dict[str, int]] = {route: {} for route in _routes(job)}
    for route, reason, count in counts:
        if reason == KEPT:
            kept[route] = count
        else:
            dropped[route][reason] = count
    return {
        "kept": kept,
        "dropped": dropped,
        "funnel": funnel(counts),
        "coverage": _coverage(session, job, iteration),
    }


def _routes(job: Job) -> tuple[Route, ...]:
    """The routes by which this job's rationales come."""
    options = job.config.training_set
    given = options.source is not Source.RATIONALES
    own = (Route.GIVEN,) if given else (Route.GENERATED, Route.RATIONALIZED)
    return (*own, Route.MIXED) if options.mix else own


def own_rows(kept: Mapping[str, int]) -> int:
    """Rows of the job's own dataset: too few of them pause a job, however many are mixed in."""
    return sum(count for route, count in kept.items() if route != Route.MIXED)


def _coverage(session: Session, job: Job, iteration: Iteration) -> dict[str, float]:
    """Shares of the iteration's examples in its training set; each counts once, as generated if it can."""
    best_route = func.min(Rationale.route)  # "generated" sorts before "rationalized"
    per_example = (
        select(best_route.label("route"))
        .where(Rationale.iteration_id == iteration.id, Rationale.decision == "kept")
        .where(Rationale.route != Route.MIXED)
        .group_by(Rationale.example_id)
        .subquery()
    )
    found = session.execute(select(per_example.c.route, func.count()).group_by(per_example.c.route))
    counts = {route: count for route, count in found}  # noqa: C416 - dict(result) takes it for a mapping
    asked = selected_count(session, job, iteration.number)
    routes = [route for route in _routes(job) if route is not Route.MIXED]
    shares: dict[str, float] = {route: _share(counts.get(route, 0), asked) for route in routes}
    return {**shares, "total": _share(sum(counts.values()), asked)}


def _accuracy(session: Session, iteration: Iteration, mode: str) -> dict[str, Any]:
    rows = session.execute(
        select(Evaluation, Example.external_id, Example.group)
        .join(Example, Example.id == Evaluation.example_id)
        .where(Evaluation.iteration_id == iteration.id, Evaluation.mode == mode)
    )
    summary: Accuracy = summarise(
        EvaluatedAnswer(
            example_id=external_id,
            group=group,
            text=row.text,
            verdict=row.verdict,
            extracted=row.extracted,
            rule="",
            prompt_tokens=0,
            tokens=row.tokens,
            finish_reason=row.finish_reason,  # type: ignore[arg-type]  # written by record_evaluations only
        )
        for row, external_id, group in rows
    )
    return {
        "accuracy": round(summary.accuracy, 6),
        "by_group": {group: round(tally.accuracy, 6) for group, tally in sorted(summary.groups.items())},
        "groups": {
            group: asdict(group_accuracy(tally.correct, tally.n))
            for group, tally in sorted(summary.groups.items())
        },
        "n": summary.overall.n,
        "correct": summary.overall.correct,
        "wrong": summary.overall.wrong,
        "ambiguous": summary.overall.ambiguous,
        "unparsed": summary.overall.unparsed,
        "truncated": summary.overall.truncated,
    }


def _share(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0
