"""A playground: one question to an adapter, its base model and other iterations, streamed side by side."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Form, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError
from sqlalchemy import Engine

from app.dashboard.rendering import page
from app.dashboard.session import Submitter, Viewer
from app.data.prompt_sets import read_prompt_set
from app.data.verifiers import VerifierRunIn, run_verifiers
from app.database import reading
from app.errors import Invalid
from app.http.dependencies import Config, Db, OfferedModels, Servers
from app.http.router import page_router
from app.jobs.read import read_job
from app.ledger.data.chat_templates import prompt_set_of
from app.ledger.results.adapters import get_adapter, names_adapter
from app.results.adapters import read_adapter, read_job_adapters
from app.results.completion_requests import CompletionIn
from app.results.completions import complete
from star_engine.adapters.roles import AdapterRole
from star_engine.config.star import StarConfig
from star_engine.data.prompts import render_prompt, stops
from star_engine.sampling.rationales import few_shot_in
from star_engine.tasks.examples import Example, PromptSet
from star_engine.tasks.registry import task_of

router = page_router("/adapters/{adapter_id}/playground")
COLUMNS = 3

Long = Annotated[str, Form(max_length=20_000)]
Short = Annotated[str, Form(max_length=2000)]


@router.get("")
def show(request: Request, caller: Viewer, db: Db, adapter_id: str) -> Response:
    adapter = read_adapter(db, caller.project_id, adapter_id)
    job = read_job(db, caller.project_id, adapter.job)
    made = [
        one
        for one in read_job_adapters(db, caller.project_id, adapter.job).data
        if one.role is AdapterRole.GENERATOR and one.deleted_at is None
    ]
    others = [one.id for one in made if one.id != adapter.id]
    shown = read_prompt_set(db, caller.project_id, job.prompt_set).examples
    config = job.config
    has_tool = config["tools"]["python"] is not None
    return page(
        request,
        "playground.html",
        caller,
        adapter=adapter,
        job=job,
        made=made,
        chosen=[adapter.id, job.model, *others[-1:]],
        columns=COLUMNS,
        example=shown[0] if shown else None,
        groups=sorted({str(one["group"]) for one in shown if one.get("group") is not None}),
        takes_choices=task_of(config["kind"]).takes_choices,
        few_shot=few_shot_in(config["generation"]["few_shot"], adapter.iteration + 1),
        max_tokens=config["generation"]["max_tokens"],
        fence=StarConfig.model_validate(config).tool_fence if has_tool else None,
    )


@router.post("/write")
async def write(
    caller: Submitter,
    db: Db,
    servers: Servers,
    offered: OfferedModels,
    adapter_id: str,
    model: Short,
    question: Long,
    choices: Long = "",
    group: Short = "",
    *,
    few_shot: Annotated[bool, Form()] = False,
    plain: Annotated[bool, Form(description="The question is the whole prompt.")] = False,
    with_tools: Annotated[bool, Form(description="Of adapters: a base model has no tool.")] = False,
    temperature: Annotated[float, Form()] = 0.0,
    max_tokens: Annotated[int, Form()] = 256,
) -> Response:
    """One column's text as events, as `POST /v1/completions` sends them. Its prompt is the job's."""
    asked = Example("", _lines(question), "", _choices(choices), group or None)
    prompt, stop = await run_in_threadpool(_prompt, db, caller.project_id, adapter_id, asked, few_shot, plain)
    try:
        sent = CompletionIn(
            model=model,
            prompt=prompt,
            stop=stop or None,
            stream=True,
            temperature=temperature,
            max_tokens=max_tokens,
            with_tools=True if with_tools and names_adapter(model) and model not in offered else None,
        )
    except ValidationError as problem:
        first = problem.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise Invalid.for_field(field, first["msg"], "Change it and ask again.") from problem
    return await complete(db, servers, caller, offered, sent)


@router.post("/verdict")
def verdict(
    request: Request,
    caller: Viewer,
    db: Db,
    settings: Config,
    adapter_id: str,
    completion: Annotated[str, Form(max_length=200_000)],
    answer: Short,
    choices: Long = "",
    finish_reason: Short = "stop",
) -> Response:
    """A fragment: what the job's own verifier makes of a text."""
    config, prompt_set = _asked_with(db, caller.project_id, adapter_id)
    row: dict[str, Any] = {
        "kind": config.kind,
        "completion": prompt_set.opening + _lines(completion),
        "answer": _lines(answer),
        "choices": list(_choices(choices) or ()) or None,
        "finish_reason": finish_reason,
        "options": config.verifier.model_dump(mode="json", exclude_defaults=True) or None,
    }
    [found] = run_verifiers(settings, caller.project_id, VerifierRunIn(rows=[row])).data
    return page(request, "_verdict.html", caller, found=found)


def _prompt(
    db: Engine, project_id: str, adapter_id: str, asked: Example, few_shot: bool, plain: bool
) -> tuple[str, tuple[str, ...]]:
    """The prompt as the adapter's job asks it, and where its texts end; a plain one ends by itself."""
    if plain:
        return asked.question, ()
    config, prompt_set = _asked_with(db, project_id, adapter_id)
    kind = config.kind
    if task_of(kind).takes_choices and not asked.choices:
        raise Invalid.for_field("choices", "The question has no choices.", "Give each on a line of its own.")
    return render_prompt(kind, prompt_set, asked, few_shot=few_shot), stops(kind)


def _asked_with(db: Engine, project_id: str, adapter_id: str) -> tuple[StarConfig, PromptSet]:
    with reading(db) as session:
        _, job = get_adapter(session, project_id, adapter_id)
        return job.config, prompt_set_of(session, job)


def _choices(text: str) -> tuple[str, ...] | None:
    return tuple(line.strip() for line in text.splitlines() if line.strip()) or None


def _lines(text: str) -> str:
    """Browsers send a line break as two characters, which no model was trained on."""
    return text.replace("\r\n", "\n")
