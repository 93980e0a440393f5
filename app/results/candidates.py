"""Many answers to each held-out question, and the accuracy that k of them come to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel, Field
from sqlalchemy import Engine

from app.data.datasets import ExampleOut, example_out
from app.database import reading
from app.errors import BadRequest
from app.http.schemas import Page, Resource, page
from app.ledger.data.examples import find_example
from app.ledger.jobs.jobs import job_with_texts
from app.ledger.results.candidates import CandidateFilter, FoundCandidate, candidate_page
from app.ledger.results.iterations import get_iteration, list_iterations
from app.results.answers import VerdictName
from app.results.iterations import MAX_ITERATIONS
from app.results.rationales import ToolUseOut, tool_use_out

_ID = re.compile(r"cand_(\d{1,18})")
ROWS_AT_ONCE = 1000  # of an export


class ScoreOut(BaseModel):
    """How likely a scorer finds the text."""

    logprob: Annotated[float, Field(description="Natural logarithm of the text's probability.")]
    tokens: Annotated[int, Field(description="Tokens that were scored.")]


class CandidateOut(Resource):
    """One of the answers to a held-out question, sampled at `evaluation.test_time.temperature`."""

    object: Literal["candidate"] = "candidate"
    job: str
    iteration: Annotated[int, Field(description="0: of the base model, with few-shot examples.")]
    example: ExampleOut
    sample: int
    text: str
    extracted: str | None
    canonical: Annotated[str | None, Field(description="The answer in normal form: what a vote counts.")]
    verdict: str
    tokens: int
    finish_reason: str
    scores: Annotated[dict[str, ScoreOut], Field(description="By scorer; generator: who wrote it.")]
    tools: Annotated[ToolUseOut | None, Field(description="Null where no tool could be called.")]


class PointOut(BaseModel):
    """An accuracy with its exact 95 % interval over questions."""

    value: float
    low: float
    high: float


class TestTimeCurvesOut(BaseModel):
    """Accuracy of one model over k answers to a question, averaged over all draws of k from `samples`."""

    __test__ = False

    iteration: Annotated[int, Field(description="0: the base model, with few-shot examples.")]
    samples: int
    temperature: float
    n: Annotated[int, Field(description="Held-out questions.")]
    ks: list[int]
    curves: Annotated[
        dict[str, list[PointOut]],
        Field(description="By method: pass, pass_all, majority, majority_tied, best_of/generator ..."),
    ]
    unparsed: Annotated[float, Field(description="Share of the answers that state none.")]
    solutions: Annotated[float, Field(description="Distinct right texts of a question that has one, mean.")]
    entropy: Annotated[float, Field(description="Of the answers to a question, in bits, mean.")]


class TestTimeOut(BaseModel):
    """What `evaluation.test_time` has measured so far."""

    __test__ = False

    object: Literal["test_time"] = "test_time"
    job: str
    data: list[TestTimeCurvesOut]


@dataclass(frozen=True, slots=True)
class CandidatesWanted:
    """The filters as they are sent, in a query."""

    iteration: Annotated[int | None, Query(ge=0, le=10_000, description="0: the base model.")] = None
    verdict: VerdictName | None = None
    example: Annotated[str | None, Query(max_length=250, description="The example's own id.")] = None


def read_candidates(
    db: Engine,
    project_id: str,
    job_id: str,
    wanted: CandidatesWanted,
    *,
    limit: int,
    after: str | None = None,
) -> Page[CandidateOut]:
    """A page by iteration, example and sample."""
    with reading(db) as session:
        job = job_with_texts(session, project_id, job_id)
        example = wanted.example
        found = candidate_page(
            session,
            job_id,
            CandidateFilter(
                iteration=wanted.iteration,
                verdict=wanted.verdict,
                example=None if example is None else find_example(session, job.dataset_id, example).id,
            ),
            after=None if after is None else _row_id_of(after),
            limit=limit,
        )
        return page([_out(job_id, one) for one in found], limit)


def each_candidate(db: Engine, project_id: str, job_id: str, number: int) -> Iterator[dict[str, Any]]:
    """Every candidate of an iteration as a flat row, for a file. Raises NotFound before the first one."""
    with reading(db) as session:
        get_iteration(session, job_with_texts(session, project_id, job_id).id, number)
    return _rows(db, job_id, number)


def _rows(db: Engine, job_id: str, number: int) -> Iterator[dict[str, Any]]:
    after: int | None = None
    more = True
    while more:
        with reading(db) as session:
            wanted = CandidateFilter(iteration=number)
            found = candidate_page(session, job_id, wanted, after=after, limit=ROWS_AT_ONCE)
            more, shown = len(found) > ROWS_AT_ONCE, found[:ROWS_AT_ONCE]
            rows = [
                {
                    "example_id": one.example.external_id,
                    "sample": one.row.sample,
                    "text": one.row.text,
                    "extracted": one.row.extracted,
                    "canonical": one.row.canonical,
                    "verdict": one.row.verdict,
                    "tokens": one.row.tokens,
                    "finish_reason": one.row.finish_reason,
                    "generator_logprob": (one.row.scores or {}).get("generator", [None])[0],
                }
                for one in shown
            ]
            after = shown[-1].row.id if shown else None
        yield from rows


def read_test_time(db: Engine, project_id: str, job_id: str) -> TestTimeOut:
    with reading(db) as session:
        job = job_with_texts(session, project_id, job_id)
        found = [
            TestTimeCurvesOut(iteration=one.number, **one.metrics["test_time"])
            for one, _ in list_iterations(session, job.id, after=-1, limit=MAX_ITERATIONS)
            if "test_time" in one.metrics
        ]
        return TestTimeOut(job=job.id, data=found)


def _row_id_of(candidate_id: str) -> int:
    match = _ID.fullmatch(candidate_id)
    if match is None:
        raise BadRequest(f"{candidate_id!r} is no id of a candidate: they look like cand_123.")
    return int(match[1])


def _out(job_id: str, one: FoundCandidate) -> CandidateOut:
    row = one.row
    return CandidateOut(
        id=f"cand_{row.id}",
        created_at=row.created_at,
        job=job_id,
        iteration=one.iteration,
        example=example_out(one.example),
        sample=row.sample,
        text=row.text,
        extracted=row.extracted,
        canonical=row.canonical,
        verdict=row.verdict,
        tokens=row.tokens,
        finish_reason=row.finish_reason,
        scores={
            name: ScoreOut(logprob=found[0], tokens=found[1]) for name, found in (row.scores or {}).items()
        },
        tools=tool_use_out(row.tools),
    )
