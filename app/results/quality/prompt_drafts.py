"""Prompt sets drafted by the base model: it reasons about a few rows, a person edits and accepts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field, StrictInt
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.data.prompt_sets import PromptSetIn, check_prompt_set
from app.database import reading, transaction
from app.errors import Invalid, NotFound
from app.http.schemas import In, JsonObject, Resource, Text
from app.jobs.create import fingerprint_of, made_once
from app.jobs.prompt_lengths import check_dataset_lengths
from app.jobs.read import wait_for_end
from app.jobs.settings import asked_prompts, resolve_config, resolve_layout
from app.jobs.validate import check_groups, check_turns
from app.ledger.data.base_models import get_model
from app.ledger.data.datasets import get_dataset
from app.ledger.data.prompt_drafts import get_draft, read_draft
from app.ledger.data.prompt_sets import row_of
from app.ledger.jobs.jobs import NewJob, create_job, remember_key
from app.ledger.platform.keys import Caller
from app.ledger.transitions import TERMINAL
from app.settings import Settings
from app.tables.data import Dataset, Model
from app.tables.jobs import Job
from app.tables.statuses import JobStatus, Purpose
from star_engine.data import prompt_sets as engine
from star_engine.sampling.rationales import Rationale
from star_engine.tasks.examples import Example, FewShotExample, PromptSet
from star_engine.tasks.kind import Kind, reads_documents
from star_engine.tasks.registry import task_of
from star_engine.tasks.starting.worked import seed_prompts

ROWS, MAX_ROWS = 5, 10
ASKED_FOR_ONE = 2  # rows that are asked for each that is wanted: the best are shown
PRIORITY = 100  # somebody waits for it, as for a trial
Id = Annotated[Text, Field(max_length=200)]


class PromptDraftIn(In):
    """Rows of the dataset for the base model to reason about."""

    dataset: Id
    model: Id
    rows: Annotated[StrictInt, Field(ge=1, le=MAX_ROWS, description="Examples that are wanted.")] = ROWS
    examples: Annotated[
        list[JsonObject],
        Field(
            max_length=30,
            description="Worked examples of your own to begin with, as of a prompt set; without them the "
            "built-in ones of the kind are shown.",
        ),
    ] = Field(default=[])


class DraftProblemOut(BaseModel):
    field: str
    reason: str
    fix: str


class DraftedExampleOut(BaseModel):
    """An example as a prompt set takes it, for rows of every group. The hint is in its prompt alone."""

    example: Annotated[str, Field(description="Id of the row.")]
    question: str
    choices: list[str] | None
    rationale: Annotated[str, Field(description="Empty as long as the model has not answered.")]
    answer: str
    route: Annotated[
        Literal["generated", "rationalized"] | None,
        Field(description="rationalized: written with the answer as a hint."),
    ]
    verdict: str | None
    problems: Annotated[
        list[DraftProblemOut], Field(description="Why a prompt set would refuse it as it is.")
    ]


class PromptDraftOut(Resource):
    object: Literal["prompt_draft"] = "prompt_draft"
    status: JobStatus
    is_terminal: bool
    status_reason: dict[str, Any] | None
    dataset: str
    model: str
    kind: Kind
    examples: Annotated[list[DraftedExampleOut], Field(description="The usable ones first.")]


def create_draft(
    db: Engine,
    caller: Caller,
    offered: frozenset[str],
    sent: PromptDraftIn,
    settings: Settings,
    key: str | None = None,
) -> tuple[PromptDraftOut, bool]:
    """The draft, and whether an earlier request with this Idempotency-Key had made it. Raises Invalid."""
    project_id = caller.project_id
    fingerprint = fingerprint_of("draft", sent.model_dump_json())

    def make() -> PromptDraftOut:
        with reading(db) as session:  # tokens of prompts may be counted for long: not while rows are locked
            new = _new_job(session, project_id, offered, sent)
        with transaction(db) as session:
            job = create_job(session, project_id, caller.key_id, new, settings)
            remember_key(session, job, key, fingerprint)
            return _out(session, job)

    return made_once(db, project_id, key, fingerprint, make, _out)


def read_prompt_draft(db: Engine, project_id: str, draft_id: str) -> PromptDraftOut:
    with reading(db) as session:
        return _out(session, get_draft(session, project_id, draft_id))


async def wait_for_draft(db: Engine, project_id: str, draft_id: str, wait: float) -> PromptDraftOut:
    """The draft once every row was answered, or as it is after so many seconds."""
    await wait_for_end(db, project_id, draft_id, wait, get_draft)
    return await run_in_threadpool(read_prompt_draft, db, project_id, draft_id)


def _new_job(session: Session, project_id: str, offered: frozenset[str], sent: PromptDraftIn) -> NewJob:
    """The first sampling of a STaR job, greedily, on a few rows."""
    model, dataset = _named(session, project_id, offered, sent)
    shown = _shown(dataset.kind, sent)
    row = row_of(session, project_id, f"to draft {dataset.kind} examples", shown)
    overrides = {
        "iterations": 1,
        "examples_per_iteration": ASKED_FOR_ONE * sent.rows,
        "generation": {"samples_per_example": 1, "temperature": 0},
        "rationalization": {"enabled": True},
    }
    config = resolve_layout(session, resolve_config(dataset.kind, "quick", overrides), model)
    check_turns(session, dataset, config, "dataset")
    prompts = asked_prompts(config, row, model)
    check_groups(session, dataset, prompts)
    check_dataset_lengths(session, model, prompts, config, dataset, ["train"])
    return NewJob(
        name=f"Draft of a prompt set for {dataset.name}"[:200],
        config=config,
        model=model,
        dataset=dataset,
        prompt_set=row,
        priority=PRIORITY,
        labels={},
        purpose=Purpose.DRAFT,
    )


def _named(
    session: Session, project_id: str, offered: frozenset[str], sent: PromptDraftIn
) -> tuple[Model, Dataset]:
    fix = "Use the id of one that GET lists."
    try:
        model = get_model(session, sent.model, offered)
    except NotFound as missing:
        raise Invalid.for_field("model", missing.detail, fix, code="unknown_model") from missing
    try:
        return model, get_dataset(session, project_id, sent.dataset)
    except NotFound as missing:
        raise Invalid.for_field("dataset", missing.detail, fix, code="unknown_dataset") from missing


def _shown(kind: Kind, sent: PromptDraftIn) -> PromptSet:
    """What the model is shown: the examples that were sent, else the built-in ones."""
    if reads_documents(kind) or task_of(kind).required_option is not None:
        reason = f"Its kind is {kind}: nothing is asked there, or only the options of a job verify answers."
        raise Invalid.for_field("dataset", reason, "Write the prompt set yourself.", code="kind_not_drafted")
    if sent.examples:
        return check_prompt_set(PromptSetIn(kind=kind, examples=sent.examples))
    built_in = seed_prompts(kind)
    if built_in is None:
        reason = f"There are no built-in examples of kind {kind} to show to the model."
        fix = "Write one or two examples and send them, or write the prompt set yourself."
        raise Invalid.for_field("examples", reason, fix, code="no_built_in_examples")
    return built_in


def _out(session: Session, job: Job) -> PromptDraftOut:
    kind = job.config.kind
    asked, tries = read_draft(session, job)
    drafted = [_drafted(kind, example, tries.get(example.id, ())) for example in asked]
    drafted.sort(key=lambda one: (bool(one.problems), not one.rationale))  # stable: in the order of rows
    wanted = max(1, (job.config.examples_per_iteration or 0) // ASKED_FOR_ONE)
    return PromptDraftOut(
        id=job.id,
        created_at=job.created_at,
        status=job.status,
        is_terminal=job.status in TERMINAL,
        status_reason=job.status_reason,
        dataset=job.dataset_id,
        model=job.model_id,
        kind=kind,
        examples=drafted[:wanted],
    )


def _drafted(kind: Kind, example: Example, tries: Sequence[Rationale]) -> DraftedExampleOut:
    """The first try that a prompt set takes; else the last one, which saw the answer."""
    judged = [(one, _problems(kind, example, one.text.strip())) for one in tries if one.text.strip()]
    best = next((pair for pair in judged if not pair[1]), judged[-1] if judged else None)
    found, problems = best if best is not None else (None, _problems(kind, example, ""))
    route = None if found is None else str(found.key.route)
    return DraftedExampleOut(
        example=example.id,
        question=example.question,
        choices=None if example.choices is None else list(example.choices),
        rationale="" if found is None else found.text.strip(),
        answer=example.answer,
        route="rationalized" if route == "rationalized" else "generated" if route else None,
        verdict=None if found is None else found.verdict,
        problems=problems,
    )


def _problems(kind: Kind, example: Example, text: str) -> list[DraftProblemOut]:
    one = FewShotExample(example.question, text, example.answer, example.choices)
    found = engine.check_prompt_set(PromptSet(kind, (one,)))
    return [DraftProblemOut(**{name: asdict(e)[name] for name in ("field", "reason", "fix")}) for e in found]
