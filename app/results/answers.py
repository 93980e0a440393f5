"""What a job's models answered to held-out examples: the texts behind every accuracy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel, Field
from sqlalchemy import Engine

from app.data.datasets import ExampleOut, example_out
from app.database import reading
from app.errors import BadRequest
from app.http.schemas import Page, Resource, page
from app.ledger.data.examples import find_example
from app.ledger.jobs.jobs import get_job, job_with_texts
from app.ledger.results.answers import (
    Against,
    AnswerFilter,
    Changed,
    FoundAnswer,
    answer_page,
    answered,
    dataset_of,
)
from app.results.rationales import ToolUseOut, tool_use_out
from app.tables.rationales import Evaluation
from star_engine.evaluation.accuracy import EvaluationMode

_ID = re.compile(r"ans_(\d{1,18})")
VerdictName = Literal["correct", "wrong", "unparsed", "ambiguous", "error"]


class OtherAnswerOut(BaseModel):
    """The answer to the same example that this one is compared with."""

    id: str
    text: str
    extracted: str | None
    verdict: str


class AnswerOut(Resource):
    """One greedy answer to a held-out example, by an iteration's adapter or a few-shot baseline."""

    object: Literal["answer"] = "answer"
    job: str
    iteration: Annotated[int, Field(description="0 for a few-shot baseline.")]
    mode: EvaluationMode
    dataset: Annotated[str | None, Field(description="A dataset of evaluation.also; null: the job's own.")]
    example: ExampleOut
    text: str
    extracted: str | None
    verdict: str
    tokens: int
    finish_reason: str
    tools: Annotated[ToolUseOut | None, Field(description="Null where no tool could be called.")]
    changed: Annotated[
        Changed | None, Field(description="Compared with the other answer: gained, lost or null.")
    ]
    against: OtherAnswerOut | None


@dataclass(frozen=True, slots=True)
class AnswersWanted:
    """The filters as they are sent, in a query."""

    iteration: Annotated[int | None, Query(ge=0, le=10_000, description="0 for the few-shot baselines.")] = (
        None
    )
    mode: EvaluationMode | None = None
    verdict: VerdictName | None = None
    example: Annotated[str | None, Query(max_length=250, description="The example's own id.")] = None
    dataset: Annotated[
        str | None,
        Query(max_length=100, description="A dataset of evaluation.also instead of the job's own."),
    ] = None
    changed: Annotated[
        Changed | None, Query(description="Right here and not there (gained), or the other way round (lost).")
    ] = None
    against: Annotated[
        str | None,
        Query(
            max_length=20,
            description="few_shot_cot, few_shot_direct or an iteration's number; few-shot if left out.",
        ),
    ] = None


def read_answers(
    db: Engine, project_id: str, job_id: str, wanted: AnswersWanted, *, limit: int, after: str | None = None
) -> Page[AnswerOut]:
    """A page by iteration, mode and example. Raises BadRequest for an `against` that has no answers."""
    with reading(db) as session:
        job = job_with_texts(session, project_id, job_id)
        against = _against(answered(session, job_id), wanted)
        example, dataset = wanted.example, wanted.dataset or job.dataset_id
        found = answer_page(
            session,
            job_id,
            AnswerFilter(
                iteration=wanted.iteration,
                mode=wanted.mode,
                verdict=wanted.verdict,
                example=None if example is None else find_example(session, dataset, example).id,
                dataset=wanted.dataset,
                changed=wanted.changed,
            ),
            against,
            after=None if after is None else row_id_of(after),
            limit=limit,
        )
        return page([_out(job_id, one) for one in found], limit)


def answered_by(db: Engine, project_id: str, job_id: str) -> list[Against]:
    """List the sources of answers, baselines first: the values that `against` accepts."""
    with reading(db) as session:
        return list(answered(session, get_job(session, project_id, job_id).id))


def name_of(one: Against) -> str:
    """Return the name that `against` uses."""
    return str(one.iteration) if one.mode is EvaluationMode.ADAPTER else one.mode.value


def row_id_of(answer_id: str) -> int:
    match = _ID.fullmatch(answer_id)
    if match is None:
        raise BadRequest(f"{answer_id!r} is no id of an answer: they look like ans_123.")
    return int(match[1])


def _against(known: Sequence[Against], wanted: AnswersWanted) -> Against | None:
    """What is asked for; with `changed` alone few-shot prompting, with rationales where it was measured."""
    by_name = {name_of(one): one for one in known}
    if wanted.against is not None:
        if wanted.against not in by_name:
            there = ", ".join(by_name) or "none yet"
            raise BadRequest(
                f"against: there are no answers of {wanted.against!r}; there are those of: {there}."
            )
        return by_name[wanted.against]
    if wanted.changed is None:
        return None
    few_shot = (EvaluationMode.FEW_SHOT_COT, EvaluationMode.FEW_SHOT_DIRECT)
    found = next((by_name[mode.value] for mode in few_shot if mode.value in by_name), None)
    if found is None:
        raise BadRequest("changed: the job has no few-shot baseline; name an iteration with `against`.")
    return found


def _out(job_id: str, one: FoundAnswer) -> AnswerOut:
    given, other = one.given, one.other
    return AnswerOut(
        id=f"ans_{given.id}",
        created_at=given.created_at,
        job=job_id,
        iteration=one.iteration,
        mode=EvaluationMode(given.mode.partition("/")[0]),
        dataset=dataset_of(given.mode),
        example=example_out(one.example),
        text=given.text,
        extracted=given.extracted,
        verdict=given.verdict,
        tokens=given.tokens,
        finish_reason=given.finish_reason,
        tools=tool_use_out(given.tools),
        changed=_changed(given, other),
        against=None
        if other is None
        else OtherAnswerOut(
            id=f"ans_{other.id}", text=other.text, extracted=other.extracted, verdict=other.verdict
        ),
    )


def _changed(given: Evaluation, other: Evaluation | None) -> Changed | None:
    if other is None or (given.verdict == "correct") == (other.verdict == "correct"):
        return None
    return Changed.GAINED if given.verdict == "correct" else Changed.LOST
