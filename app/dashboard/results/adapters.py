"""Adapters of all jobs; one of them with its files, how to serve it, and a box to ask it a question."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Form, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse
from pydantic import ValidationError
from sqlalchemy import Engine

from app.dashboard.jobs.form import checked
from app.dashboard.rendering import page, url
from app.dashboard.results.job_adapters import aliases, last_generator
from app.dashboard.results.receipts import ShownReceipt, shown_receipt
from app.dashboard.session import PATH, Submitter, Viewer
from app.data.base_models import read_models
from app.data.prompt_sets import read_prompt_set
from app.errors import Invalid
from app.http.dependencies import Artifacts, Config, Db, OfferedModels
from app.http.downloads import send_archive, send_file
from app.http.router import page_router
from app.http.schemas import After
from app.jobs.quiet_star.ask import is_asked_by_text
from app.jobs.read import read_job
from app.ledger.platform.keys import Caller
from app.results.adapters import (
    AdapterChanges,
    AdapterOut,
    change_adapter,
    find_adapter_file,
    find_adapter_files,
    read_adapter,
    read_adapters,
    read_job_adapters,
)
from app.results.iterations import read_iteration, read_iterations
from app.results.quality.promotions import PromotionIn, end_promotion, promote_adapter, read_promotions
from app.results.quality.receipts import read_adapter_receipt
from app.results.trial_checks import TrialIn
from app.results.trials import TrialOut, create_trial, wait_for_trial
from star_engine.adapters.roles import AdapterRole
from star_engine.tasks.kind import Kind, reads_documents
from star_engine.tasks.registry import task_of

router = page_router("/adapters")
ROWS = 25
MAX_MODELS = 100  # to choose from
MAX_PROMOTIONS = 20  # that an adapter's page shows
MAX_STANDING = 100  # promotions above the list of adapters
WAIT = 25.0  # seconds that a page waits for an answer before it asks again: proxies cut at 30 or 60
LINE = 2000  # characters
VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # what its --max-lora-rank may be

# In which a text can be laid out for an adapter that thinks between tokens, in the form's few fields.
KINDS_ASKED = [
    kind
    for kind in Kind
    if is_asked_by_text(kind) and not reads_documents(kind) and not task_of(kind).takes_choices
]

Question = Annotated[str, Form(max_length=20_000)]
Line = Annotated[str, Form(max_length=LINE)]


@router.get("")
def list_(
    request: Request,
    caller: Viewer,
    db: Db,
    offered: OfferedModels,
    model: str | None = None,
    after: After = None,
) -> Response:
    """Filters are those of GET /v1/adapters, in the URL."""
    found = read_adapters(db, caller.project_id, model=model, after=after, limit=ROWS)
    standing = read_promotions(db, caller.project_id, limit=MAX_STANDING, current=True).data
    jobs = {one.job for one in found.data}
    names = {job_id: read_job(db, caller.project_id, job_id).name for job_id in jobs}
    known = [one.id for one in read_models(db, offered, limit=MAX_MODELS).data]
    return page(
        request,
        "adapters.html",
        caller,
        found=found,
        names=names,
        model=model,
        models=known,
        standing=standing,
    )


@router.get("/{adapter_id}")
async def card(
    request: Request,
    caller: Viewer,
    db: Db,
    settings: Config,
    adapter_id: str,
    trial: Annotated[str | None, Query(max_length=250)] = None,
) -> Response:
    """`adapter_id` may be an alias: job_...:best, job_...:last, job_...:3."""
    shown = await run_in_threadpool(_card, request, caller, db, adapter_id)
    shown |= {"asked_here": settings.sampler != "vllm", "asked_kinds": KINDS_ASKED}
    found = None if trial is None else await wait_for_trial(db, caller.project_id, trial, wait=0)
    return page(request, "adapter.html", caller, **shown, trial=found, pairs=_pairs(found))


@router.post("/{adapter_id}/ask")
def ask(
    request: Request,
    caller: Submitter,
    db: Db,
    settings: Config,
    adapter_id: str,
    question: Question = "",
    answer: Line = "",
    choices: Question = "",
    group: Line = "",
    kind: Line = "",
    *,
    beside_base: Annotated[bool, Form()] = False,
) -> Response:
    listed = tuple(line.strip() for line in choices.splitlines() if line.strip())
    one = {
        "question": question,
        "answer": answer or None,
        "choices": listed or None,
        "group": group or None,
    }
    sent = checked(TrialIn, {"questions": (one,), "beside_base": beside_base, "kind": kind or None})
    made, _ = create_trial(db, caller, adapter_id, sent, settings)
    if request.headers.get("hx-request") is None:
        return RedirectResponse(url("adapters", adapter_id, trial=made.id), status_code=303)
    return _trial(request, caller, made)


@router.get("/{adapter_id}/trials/{trial_id}")
async def answers(request: Request, caller: Viewer, db: Db, adapter_id: str, trial_id: str) -> Response:
    """Waits for the last answer: htmx asks for this part again when it comes without."""
    return _trial(request, caller, await wait_for_trial(db, caller.project_id, trial_id, WAIT))


@router.post("/{adapter_id}/pin")
def pin(
    caller: Submitter,
    db: Db,
    adapter_id: str,
    *,
    pinned: Annotated[bool, Query()],
    beside: Annotated[bool, Query(description="Back to the job's adapters.")] = False,
) -> Response:
    changed = change_adapter(db, caller.project_id, adapter_id, AdapterChanges(pinned=pinned))
    place = url("jobs", changed.job, "adapters") if beside else url("adapters", changed.id)
    return RedirectResponse(place, status_code=303)


@router.post("/{adapter_id}/promote")
def promote(
    caller: Submitter,
    db: Db,
    adapter_id: str,
    name: Line = "default",
    stage: Line = "production",
    reason: Line = "",
    *,
    force: Annotated[bool, Form()] = False,
) -> Response:
    given = {"name": name.strip(), "stage": stage.strip(), "force": force, "reason": reason.strip() or None}
    try:
        sent = PromotionIn.model_validate(given)
    except ValidationError as error:
        raise Invalid(f"{error.errors()[0]['loc'][0]}: {error.errors()[0]['msg']}.") from error
    made, _ = promote_adapter(db, caller, adapter_id, sent)
    return RedirectResponse(f"{url('adapters', made.adapter)}#receipt", status_code=303)


@router.post("/{adapter_id}/promotions/{promotion_id}/end")
def demote(caller: Submitter, db: Db, adapter_id: str, promotion_id: str) -> Response:
    end_promotion(db, caller.project_id, promotion_id)
    return RedirectResponse(f"{url('adapters', adapter_id)}#receipt", status_code=303)


@router.get("/{adapter_id}/files/{path:path}")
def file(
    request: Request, caller: Viewer, db: Db, storage: Artifacts, adapter_id: str, path: str
) -> Response:
    """The API's download, to save and not to show: a card may hold whatever a job's name held."""
    found = find_adapter_file(db, caller.project_id, adapter_id, path)
    answer = send_file(request, storage, found, path.rpartition("/")[2])
    if answer.status_code in (200, 206):
        answer.headers["Content-Type"] = "application/octet-stream"
        answer.headers["Content-Disposition"] = f'attachment; filename="{path}"'
    return answer


@router.get("/{adapter_id}/archive")
def archive(caller: Viewer, db: Db, storage: Artifacts, adapter_id: str) -> Response:
    return send_archive(storage, f"{adapter_id}.tar", find_adapter_files(db, caller.project_id, adapter_id))


def _card(request: Request, caller: Caller, db: Engine, adapter_id: str) -> dict[str, Any]:
    adapter = read_adapter(db, caller.project_id, adapter_id)
    job = read_job(db, caller.project_id, adapter.job)
    last = last_generator(read_job_adapters(db, caller.project_id, adapter.job).data)
    number = [str(adapter.iteration)] if adapter.role is AdapterRole.GENERATOR else []  # names a generator
    shown_examples = read_prompt_set(db, caller.project_id, job.prompt_set).examples
    first = read_iterations(db, caller.project_id, adapter.job, limit=1).data
    rank = int((job.config.get("quiet_star") or job.config["training"])["lora"]["rank"])
    return {
        "adapter": adapter,
        "job": job,
        "receipt": _receipt(db, caller, adapter),
        "promotions": read_promotions(
            db, caller.project_id, limit=MAX_PROMOTIONS, adapter=adapter.id, current=True
        ).data,
        "takes_choices": task_of(job.config["kind"]).takes_choices,
        "iteration": read_iteration(db, caller.project_id, adapter.job, adapter.iteration),
        "base": first[0] if first and first[0].number == 0 else None,
        "names": [*aliases(job, adapter, last), *number],
        "example": shown_examples[0] if shown_examples else None,
        "server": str(request.base_url).removesuffix(f"{PATH}/").rstrip("/"),
        "vllm_rank": min(number for number in VLLM_RANKS if number >= rank),
        "groups": sorted({str(one["group"]) for one in shown_examples if one.get("group") is not None}),
    }


def _receipt(db: Engine, caller: Caller, adapter: AdapterOut) -> ShownReceipt | None:
    if adapter.role is not AdapterRole.GENERATOR:
        return None
    return shown_receipt(read_adapter_receipt(db, caller.project_id, adapter.id))


def _trial(request: Request, caller: Caller, found: TrialOut) -> Response:
    return page(request, "_trial.html", caller, trial=found, pairs=_pairs(found))


def _pairs(found: TrialOut | None) -> list[tuple[str, list[Any]]]:
    """Pair the answers by question: the base model's, where it was asked, and the adapter's."""
    by_place: dict[int, tuple[str, list[Any]]] = {}
    for one in sorted(found.answers if found else [], key=lambda one: one.asked, reverse=True):
        by_place.setdefault(one.position, (one.question, []))[1].append(one)
    return [by_place[place] for place in sorted(by_place)]
