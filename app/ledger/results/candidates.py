"""Candidates: many answers to a held-out question, recorded once per iteration, example and sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, select, tuple_, update
from sqlalchemy.orm import Session

from app.ledger.queue.steps import Claim, check_fence
from app.ledger.results.rationales import claimed_iteration, insert_once, storable
from app.tables.candidates import Candidate, QuestionCurve
from app.tables.data import Example
from app.tables.jobs import Iteration
from star_engine.evaluation import candidates as engine
from star_engine.evaluation.candidates import CandidateKey, QuestionCurves, Scored
from star_engine.tasks.programs.tool_use import tool_use_from


def recorded_candidates(
    session: Session, claim: Claim, names: Mapping[int, str]
) -> Iterator[tuple[int, engine.Candidate]]:
    """What the claimed step has recorded, with row ids, by example and sample. `names`: of its examples."""
    iteration = claimed_iteration(session, claim)
    query = select(Candidate).where(Candidate.iteration_id == iteration.id)
    query = query.where(Candidate.example_id.between(min(names, default=0), max(names, default=0)))
    for row in session.scalars(query.order_by(Candidate.example_id, Candidate.sample)):
        if row.example_id in names:
            yield row.id, as_candidate(row, names[row.example_id])


def as_candidate(row: Candidate, name: str) -> engine.Candidate:
    """A row as the engine reads it; `name`: its example's own id."""
    return engine.Candidate(
        key=CandidateKey(name, row.sample),
        text=row.text,
        verdict=row.verdict,
        extracted=row.extracted,
        canonical=row.canonical,
        rule=row.rule,
        prompt_tokens=row.prompt_tokens,
        tokens=row.tokens,
        finish_reason=row.finish_reason,  # type: ignore[arg-type]  # written by record_candidates only
        request_sha256=row.request_sha256,
        reused=row.reused,
        scores={scorer: Scored(*found) for scorer, found in (row.scores or {}).items()},
        tools=tool_use_from(row.tools),
    )


def record_candidates(
    session: Session,
    claim: Claim,
    batch: Sequence[engine.Candidate],
    row_ids: Mapping[str, int],
    sampler_adapter_id: str | None,
) -> None:
    """Record answers. `row_ids`: example id to row id. Raises Fenced."""
    check_fence(session, claim)
    iteration = claimed_iteration(session, claim)
    rows = [
        {
            "iteration_id": iteration.id,
            "example_id": row_ids[one.key.example_id],
            "sample": one.key.sample,
            "text": storable(one.text),
            "extracted": storable(one.extracted),
            "canonical": storable(one.canonical),
            "verdict": one.verdict,
            "rule": one.rule,
            "prompt_tokens": one.prompt_tokens,
            "tokens": one.tokens,
            "finish_reason": one.finish_reason,
            "sampler_adapter_id": sampler_adapter_id,
            "request_sha256": one.request_sha256,
            "reused": one.reused,
            "tools": None if one.tools is None else one.tools.as_json(),
        }
        for one in batch
    ]
    if rows:
        session.execute(insert_once(session, Candidate), rows)


def record_scores(session: Session, claim: Claim, scores: Mapping[int, Mapping[str, Scored]]) -> None:
    """Replace what scorers say of candidates, by row id. Raises Fenced."""
    check_fence(session, claim)
    rows = [
        {"id": row_id, "scores": {name: [one.total, one.tokens] for name, one in found.items()}}
        for row_id, found in scores.items()
    ]
    if rows:
        session.execute(update(Candidate), rows)


def record_question_curves(
    session: Session, claim: Claim, questions: Sequence[QuestionCurves], row_ids: Mapping[str, int]
) -> None:
    """Record what the candidates of each question come to. Raises Fenced."""
    check_fence(session, claim)
    iteration = claimed_iteration(session, claim)
    rows = [
        {
            "iteration_id": iteration.id,
            "example_id": row_ids[one.example_id],
            "answers": one.answers,
            "right": one.right,
            "unparsed": one.unparsed,
            "solutions": one.solutions,
            "entropy": one.entropy,
            "curves": {name: list(values) for name, values in one.curves.items()},
        }
        for one in questions
    ]
    if rows:
        session.execute(insert_once(session, QuestionCurve), rows)


@dataclass(frozen=True, slots=True)
class CandidateFilter:
    """What a page of candidates is narrowed to; None means any."""

    iteration: int | None = None
    verdict: str | None = None
    example: int | None = None  # row id


@dataclass(frozen=True, slots=True)
class FoundCandidate:
    iteration: int
    row: Candidate
    example: Example


def candidate_page(
    session: Session, job_id: str, wanted: CandidateFilter, *, after: int | None, limit: int
) -> Sequence[FoundCandidate]:
    """At most `limit` + 1 candidates by iteration, example and sample: one walk of the unique index.

    after: the row id of the last one seen.
    """
    columns: Any = select(Iteration.number, Candidate, Example)
    query = (
        columns.join(Candidate, Candidate.iteration_id == Iteration.id)
        .join(Example, Example.id == Candidate.example_id)
        .where(Iteration.job_id == job_id, *_narrowed(wanted))
        .order_by(Candidate.iteration_id, Candidate.example_id, Candidate.sample)
        .limit(limit + 1)
    )
    seen = None if after is None else session.get(Candidate, after)
    if seen is not None:
        place = tuple_(Candidate.iteration_id, Candidate.example_id, Candidate.sample)
        query = query.where(place > (seen.iteration_id, seen.example_id, seen.sample))
    return [FoundCandidate(*row) for row in session.execute(query)]


def _narrowed(wanted: CandidateFilter) -> Iterator[ColumnElement[bool]]:
    if wanted.iteration is not None:
        yield Iteration.number == wanted.iteration
    if wanted.verdict is not None:
        yield Candidate.verdict == wanted.verdict
    if wanted.example is not None:
        yield Candidate.example_id == wanted.example
