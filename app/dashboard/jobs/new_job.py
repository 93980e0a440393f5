"""Starting a job from a form, which shows first what the job would be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from app.dashboard.jobs.form import GROUPS, Filled, Sent, body, checked, filled, once, shown_setting
from app.dashboard.jobs.like import advised, values_like
from app.dashboard.jobs.preflight import tries_shown
from app.dashboard.rendering import page, url
from app.dashboard.session import Submitter
from app.data.base_models import read_models
from app.data.datasets import DatasetOut, read_datasets
from app.data.prompt_sets import PromptSetOut, read_prompt_set, read_prompt_sets
from app.errors import NotFound, Problem
from app.http.dependencies import Config, Db, DryRunSlots, OfferedModels
from app.http.router import page_router
from app.jobs.baselines import BESIDE, OF_DOCUMENTS, JobFamilyIn
from app.jobs.create import create_family, try_family
from app.jobs.dry_run.describe import DryRunOut
from app.jobs.dry_run.warnings import SMALL_DATA
from app.jobs.read import read_job
from app.ledger.platform.keys import Caller
from app.results.quality.advice import read_advice
from app.results.quality.probes import ProbeOut, start_probe
from star_engine.config.presets import DOCUMENT_PRESETS, PRESETS, presets_of
from star_engine.sampling.probe import FEWEST
from star_engine.tasks.kind import reads_documents

router = page_router("/jobs")

CHOICES = 100  # newest datasets and prompt sets to choose from
FIELDS = (
    "name",
    "model",
    "dataset",
    "prompt_set",
    "preset",
    "priority",
    "budget.gpu_seconds",
    "allow_overlap",
)


@router.get("/new")
def form(
    request: Request,
    caller: Submitter,
    db: Db,
    offered: OfferedModels,
    like: str | None = None,
    advice: str | None = None,
    iteration: int = 0,
) -> Response:
    """`?model=`, `?dataset=` and `?prompt_set=` are filled in; the preset is `quick` for small data.
    `?like=`: all that a job was made of, with `?advice=` changed as the coach says after `?iteration=`.
    """
    if like is not None:
        job = read_job(db, caller.project_id, like)
        if advice is not None:
            job = advised(job, read_advice(db, caller.project_id, like, iteration).data, advice)
        return _form(request, caller, db, offered, Filled(values_like(job)))
    return _form(request, caller, db, offered, Filled(_with_preset(caller, db, dict(request.query_params))))


def _with_preset(caller: Caller, db: Db, asked: dict[str, str]) -> dict[str, str]:
    """Fill in the dataset given in the query, or the newest one."""
    datasets = read_datasets(db, caller.project_id, limit=CHOICES).data
    chosen = [one for one in datasets if one.id == asked.get("dataset")] or datasets[:1]
    if any(reads_documents(one.kind) for one in chosen):
        return {"preset": next(iter(DOCUMENT_PRESETS)), **asked}
    small = all(one.splits.get("train", 0) < SMALL_DATA for one in chosen)
    return {"preset": "quick" if small else "star", **asked}


@router.post("/new/settings")
def show_settings(
    request: Request, caller: Submitter, db: Db, offered: OfferedModels, sent: Sent
) -> Response:
    """The form again, with the settings of the preset and the dataset that were just chosen."""
    return _form(request, caller, db, offered, filled(sent))


@router.post("/new/try")
async def try_out(
    request: Request,
    caller: Submitter,
    db: Db,
    settings: Config,
    offered: OfferedModels,
    slots: DryRunSlots,
    sent: Sent,
) -> Response:
    """The form again, with the dry run below; what is wrong is an answer too, so its status is 200."""
    try:
        tried = await slots.run(
            caller.project_id, try_family, db, caller.project_id, offered, _wanted(sent), settings
        )
    except Problem as refused:
        return await run_in_threadpool(_form, request, caller, db, offered, filled(sent, refused))
    return await run_in_threadpool(_form, request, caller, db, offered, filled(sent), tried=tried)


@router.post("/new/probe")
async def probe(
    request: Request,
    caller: Submitter,
    db: Db,
    settings: Config,
    offered: OfferedModels,
    slots: DryRunSlots,
    sent: Sent,
) -> Response:
    """The form again, with the dry run and the probe that has begun below."""
    try:
        wanted = checked(JobFamilyIn, {**body(sent, FIELDS), **_probing(sent)})
        found, _ = await slots.run(caller.project_id, start_probe, db, caller, offered, wanted, settings)
    except Problem as refused:
        return await run_in_threadpool(_form, request, caller, db, offered, filled(sent, refused))
    return await run_in_threadpool(
        _form, request, caller, db, offered, filled(sent), tried=found, probe=found.probe
    )


@router.post("/new")
def create(
    request: Request, caller: Submitter, db: Db, settings: Config, offered: OfferedModels, sent: Sent
) -> Response:
    key = str(sent.get("key", "")) or None
    try:
        wanted = _wanted(sent)
        made = once(lambda: create_family(db, caller, offered, wanted, settings, key))
    except Problem as refused:
        return _form(request, caller, db, offered, filled(sent, refused), refused=refused)
    return RedirectResponse(url("jobs", made.id), status_code=303)


def _wanted(sent: Sent) -> JobFamilyIn:
    given = body(sent, FIELDS) | {"baselines": [str(one) for one in sent.getlist("baselines")]}
    wanted: JobFamilyIn = checked(JobFamilyIn, given)
    return wanted


def _probing(sent: Sent) -> dict[str, Any]:
    """What makes the form a dry run with a probe."""
    typed = str(sent.get("probe", "")).strip()
    return {"dry_run": True, "probe": int(typed) if typed.isdecimal() else typed or FEWEST}


def _form(
    request: Request,
    caller: Caller,
    db: Db,
    offered: OfferedModels,
    shown: Filled,
    tried: DryRunOut | None = None,
    refused: Problem | None = None,
    probe: ProbeOut | None = None,
) -> Response:
    partial = request.headers.get("hx-request") is not None
    datasets = read_datasets(db, caller.project_id, limit=CHOICES).data
    kind = _chosen(shown, datasets).kind if datasets else None
    prompt_sets = _prompt_sets(caller, db, shown.values.get("prompt_set", ""))
    return page(
        request,
        "_job_form.html" if partial else "job_new.html",
        caller,
        status=refused.status if refused else 200,
        form=shown,
        tried=tried,
        probe=probe,
        tries=tries_shown(db, caller, probe),
        starts=True,
        groups=GROUPS,
        usual=_usual(shown, datasets),
        documents=kind is not None and reads_documents(kind),
        models=[(one.id, one.id) for one in read_models(db, offered, limit=CHOICES).data],
        datasets=[(one.id, _dataset(one)) for one in datasets],
        kind=kind,
        prompt_sets=[(one.id, _prompts(one)) for one in prompt_sets if one.kind == kind],
        presets=[(name, name) for name in (*PRESETS, *DOCUMENT_PRESETS)],
        beside=(*BESIDE, *OF_DOCUMENTS),
    )


def _prompt_sets(caller: Caller, db: Db, named: str) -> Sequence[PromptSetOut]:
    """The newest, and the one that is named: a job that the form is filled from may have one that is old, or
    is not listed.
    """
    newest = read_prompt_sets(db, caller.project_id, limit=CHOICES).data
    if named and all(one.id != named for one in newest):
        with suppress(NotFound):
            return [*newest, read_prompt_set(db, caller.project_id, named)]
    return newest


def _usual(shown: Filled, datasets: Sequence[DatasetOut]) -> Callable[[str], str]:
    """What a setting is where nothing is typed: the chosen preset's value for the dataset's kind."""
    if not datasets:
        return lambda name: "as the preset"
    kind = _chosen(shown, datasets).kind
    known = presets_of(kind)
    preset = known.get(shown.values.get("preset", ""), next(iter(known.values())))
    config = preset(kind).model_dump(mode="json")
    return lambda name: shown_setting(config, name)


def _chosen(shown: Filled, datasets: Sequence[DatasetOut]) -> DatasetOut:
    """The dataset that the form names, else the newest."""
    return next((one for one in datasets if one.id == shown.values.get("dataset")), datasets[0])


def _dataset(one: DatasetOut) -> str:
    return f"{one.name} v{one.version}: {one.kind}, {sum(one.splits.values()):,} examples"


def _prompts(one: PromptSetOut) -> str:
    return f"{one.name} v{one.version}: {one.kind}, {len(one.examples)} examples"
