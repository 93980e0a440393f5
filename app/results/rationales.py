"""Rationales as they are shown, and the filters that find them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel, Field
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.data.datasets import ExampleOut, example_out
from app.database import reading
from app.errors import BadRequest, NotFound
from app.http.schemas import Page, Resource, partial_page
from app.ledger.data.chat_templates import prompt_set_of
from app.ledger.data.examples import as_example, example_row_id, find_example
from app.ledger.jobs.jobs import job_with_texts
from app.ledger.results.iterations import config_of
from app.ledger.results.rationale_pages import RationaleFilter, rationale_page
from app.ledger.results.rationales import find_rationale, trained_in, training_row_of
from app.tables.base import JsonObject
from app.tables.data import Example
from app.tables.jobs import Iteration, Job
from app.tables.rationales import Rationale
from star_engine.data.prompts import hint_text
from star_engine.sampling.answers import answer_span
from star_engine.sampling.rationales import Route, rationale_prompt

_ID = re.compile(r"rat_(\d{1,18})")


class ToolUseOut(BaseModel):
    """What of a text its model did not write, and what came of its calls."""

    calls: int
    failed: int
    limit: Annotated[bool, Field(description="It asked for one call more than it has, and ended there.")]
    hint: Annotated[str | None, Field(description="The procedural hint, by its name in the library.")]
    library: Annotated[int | None, Field(description="Version of the library.")]
    spans: Annotated[
        list[tuple[int, int, Literal["hint", "output"]]],
        Field(description="[start, end) of the text's characters, and who put them there."),
    ]


class RationaleOut(Resource):
    """One try at one example."""

    object: Literal["rationale"] = "rationale"
    job: str
    iteration: int
    example: ExampleOut
    route: Route
    sample: int
    text: str
    extracted: str | None
    verdict: str
    rule: str
    checks: dict[str, bool] | None
    reward: Annotated[
        float | None,
        Field(description="-1 to 1, by the scorer of the job's controller; null where it has none."),
    ] = None
    decision: str | None
    reason: str | None
    overridden: bool  # a reviewer's verdict decided, see GET .../override
    tokens: int
    prompt_tokens: int
    finish_reason: str
    sampler_adapter_id: str | None
    tools: Annotated[ToolUseOut | None, Field(description="Null where the job has no tool.")] = None


class TrainingRowOut(BaseModel):
    position: int
    prompt: str
    completion: str
    masked: Annotated[
        list[tuple[int, int, Literal["hint", "output"]]],
        Field(description="[start, end) of the completion's characters that are not learned."),
    ] = []


class ReadPlaceOut(BaseModel):
    """How likely the stated answer is where the rationale is cut."""

    end: Annotated[int, Field(description="Characters of the text that are kept; 0: no rationale.")]
    logprob: Annotated[
        float, Field(description="Natural logarithm of its probability by the iteration's adapter.")
    ]


class RationaleDetailOut(RationaleOut):
    """A rationale with the prompt it was sampled from and its outcome."""

    prompt: str
    hint: str | None
    span: Annotated[
        tuple[int, int] | None,
        Field(description="Where the extracted answer stands in the text: [start, end)."),
    ]
    reading: Annotated[
        list[ReadPlaceOut] | None,
        Field(description="Sentence by sentence; null for tries that `audits.sentences` has not read."),
    ]
    training_row: TrainingRowOut | None
    trained_in: Annotated[list[int], Field(description="The iterations whose training window contains it.")]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The filters as they were sent."""

    filters: RationaleFilter
    example: str | None


def wanted_of(
    iteration: Annotated[int | None, Query(ge=0, le=10_000)] = None,
    route: Route | None = None,
    verdict: Literal["correct", "wrong", "unparsed", "ambiguous", "error"] | None = None,
    decision: Literal["kept", "dropped"] | None = None,
    reason: Annotated[str | None, Query(max_length=100)] = None,
    example: Annotated[str | None, Query(max_length=250, description="The example's own id.")] = None,
    text: Annotated[
        str | None, Query(min_length=1, max_length=500, description="Text the rationale must contain.")
    ] = None,
) -> Wanted:
    filters = RationaleFilter(
        iteration=iteration,
        route=route,
        verdict=verdict,
        decision=decision,
        reason=reason,
        text=text,
    )
    return Wanted(filters, example)


def read_rationales(
    db: Engine, project_id: str, job_id: str, wanted: Wanted, *, limit: int, after: str | None = None
) -> Page[RationaleOut]:
    """A page of the job's rationales that pass the filters, oldest first."""
    with reading(db) as session:
        job = job_with_texts(session, project_id, job_id)
        filters = wanted.filters
        if wanted.example is not None:
            example = example_row_id(session, job.dataset_id, wanted.example)
            if example is None:
                return partial_page([], False, None)
            filters = replace(filters, example=example)
        return _page(session, job, filters, limit, after)


def read_rationale(db: Engine, project_id: str, job_id: str, rationale_id: str) -> RationaleDetailOut:
    with reading(db) as session:
        job = job_with_texts(session, project_id, job_id)
        return _detail(session, job, *rationale_of(session, job, rationale_id))


def read_history(
    db: Engine, project_id: str, job_id: str, example_id: str, *, limit: int, after: str | None = None
) -> Page[RationaleOut]:
    """All tries at one example over all iterations, in the order in which they were recorded."""
    with reading(db) as session:
        job = job_with_texts(session, project_id, job_id)
        example = find_example(session, job.dataset_id, example_id)
        return _page(session, job, RationaleFilter(example=example.id), limit, after)


def rationale_of(session: Session, job: Job, rationale_id: str) -> tuple[Rationale, Example]:
    """A rationale of this job with its example; else NotFound."""
    found = find_rationale(session, job.id, row_id_of(rationale_id))
    if found is None:
        raise NotFound(f"The job {job.id} has no rationale {rationale_id}.")
    return found


def _page(
    session: Session, job: Job, wanted: RationaleFilter, limit: int, after: str | None
) -> Page[RationaleOut]:
    last = 0 if after is None else row_id_of(after)
    found = rationale_page(session, job.id, wanted, after=last, limit=limit)
    rows = [rationale_out(rationale, example) for rationale, example in found.rows]
    return partial_page(rows, found.has_more, None if found.last is None else f"rat_{found.last}")


def row_id_of(rationale_id: str) -> int:
    match = _ID.fullmatch(rationale_id)
    if match is None:
        raise BadRequest(f"{rationale_id!r} is no id of a rationale: they look like rat_123.")
    return int(match[1])


def _detail(session: Session, job: Job, rationale: Rationale, row: Example) -> RationaleDetailOut:
    """Prompt and hint are rendered again from what they were made of: nothing they depend on ever changes."""
    config = config_of(job, session.get_one(Iteration, rationale.iteration_id))
    example, route = as_example(row), rationale.route
    prompt_set = prompt_set_of(session, job, config)
    trained = training_row_of(session, rationale.id)
    hint = hint_text(config.kind, example, config.rationalization.template)
    return RationaleDetailOut(
        **dict(rationale_out(rationale, row)),
        prompt=rationale_prompt(config, prompt_set, example, route, rationale.iteration_number),
        hint=hint if route is Route.RATIONALIZED else None,
        span=answer_span(config, example, rationale.text, rationale.extracted),
        reading=None
        if rationale.reading is None
        else [ReadPlaceOut(end=end, logprob=logprob) for end, logprob in rationale.reading],
        trained_in=[] if trained is None else trained_in(session, job.id, rationale.iteration_number, config),
        training_row=None
        if trained is None
        else TrainingRowOut(
            position=trained.position,
            prompt=trained.prompt,
            completion=trained.completion,
            masked=trained.masked or [],
        ),
    )


def rationale_out(rationale: Rationale, example: Example) -> RationaleOut:
    return RationaleOut(
        id=f"rat_{rationale.id}",
        created_at=rationale.created_at,
        job=rationale.job_id,
        iteration=rationale.iteration_number,
        example=example_out(example),
        route=rationale.route,
        sample=rationale.sample,
        text=rationale.text,
        extracted=rationale.extracted,
        verdict=rationale.verdict,
        rule=rationale.rule,
        decision=rationale.decision,
        reason=rationale.reason,
        checks=rationale.checks,
        reward=rationale.reward,
        overridden=rationale.override_id is not None,
        tokens=rationale.tokens,
        prompt_tokens=rationale.prompt_tokens,
        finish_reason=rationale.finish_reason,
        sampler_adapter_id=rationale.sampler_adapter_id,
        tools=tool_use_out(rationale.tools),
    )


def tool_use_out(recorded: JsonObject | None) -> ToolUseOut | None:
    return None if recorded is None else ToolUseOut.model_validate(recorded)
