"""The page of one job: its progress, its results, and the actions it allows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from app.dashboard.jobs.audits import audit_lines
from app.dashboard.jobs.charts import charts
from app.dashboard.jobs.form import Sent, checked
from app.dashboard.jobs.hero import hero
from app.dashboard.jobs.progress import funnel_rows, phases, stepper, told
from app.dashboard.rendering import page, url
from app.dashboard.session import Submitter, Viewer
from app.data.datasets import read_dataset
from app.data.prompt_sets import read_prompt_set
from app.http.dependencies import Config, Db, Feed, LastEventId
from app.http.events.feed import BATCH
from app.http.router import page_router
from app.jobs.change import (
    JobChanges,
    ResumeIn,
    cancel_job,
    describe_job,
    pause_job,
    resume_job,
    retry_job,
)
from app.jobs.delete import archive_job, delete_job
from app.jobs.events import EventOut, read_newest_events, wait_for_events
from app.jobs.read import check_job_exists, read_best_accuracies, read_job
from app.jobs.views import JobOut
from app.ledger.platform.keys import Caller
from app.platform.bills import read_cost_now
from app.results.iterations import IterationOut, read_iterations
from app.results.live.newest import read_newest
from app.results.quality.advice import read_advice
from app.results.report import read_job_report
from app.settings import Settings
from star_engine.loop import StopReason

router = page_router("/jobs/{job_id}")

SHOWN_EVENTS = 40
PROGRESS_SECONDS = 2.0  # how late a page may learn of progress, which is no event
Chosen = Annotated[int | None, Query(ge=0, le=10_000, description="The iteration to show.")]


def _own_job(caller: Viewer, db: Db, job_id: str) -> str:
    """A dependency, so that a stream of no job is answered with 404."""
    check_job_exists(db, caller.project_id, job_id)
    return job_id


@router.get("")
def overview(
    request: Request, caller: Viewer, db: Db, settings: Config, job_id: str, iteration: Chosen = None
) -> Response:
    shown = _now(caller, db, settings, job_id, iteration)
    recent, seq = _events(caller, db, job_id)
    names = _names(caller, db, shown["job"])
    return page(request, "job.html", caller, **shown, events=recent, seq=seq, names=names)


@router.get("/now")
def now(
    request: Request, caller: Viewer, db: Db, settings: Config, job_id: str, iteration: Chosen = None
) -> Response:
    """What of the page changes while the job runs."""
    return page(request, "_job_now.html", caller, **_now(caller, db, settings, job_id, iteration))


@router.get("/events")
def newest_events(request: Request, caller: Viewer, db: Db, job_id: str) -> Response:
    return page(request, "_events.html", caller, events=_events(caller, db, job_id)[0])


@router.get("/results")
def results(request: Request, caller: Viewer, db: Db, job_id: str) -> Response:
    """The answer and the charts; apart, since they count recorded rationales and answers."""
    _, found = read_job_report(db, caller.project_id, job_id)
    drawn = charts(read_iterations(db, caller.project_id, job_id).data, found)
    return page(request, "_job_results.html", caller, answer=found.answer, charts=drawn)


@router.get("/texts")
def texts(request: Request, caller: Viewer, db: Db, job_id: str) -> Response:
    """The newest texts of a running job, and how fast they come."""
    newest = read_newest(db, caller.project_id, job_id)
    return page(request, "_live_texts.html", caller, newest=newest, job_id=job_id)


@router.get("/stream", response_class=EventSourceResponse)
async def stream(
    caller: Viewer,
    db: Db,
    feed: Feed,
    job: Annotated[str, Depends(_own_job)],
    after: LastEventId,
) -> AsyncIterator[ServerSentEvent]:
    """`changed` after events and progress, `results` after a phase, `done` once the job has ended."""
    seen = None
    while not feed.closing:
        found = await wait_for_events(db, feed, job, limit=BATCH, after=after, wait=PROGRESS_SECONDS)
        after = found.data[-1].seq if found.data else after
        shown = await run_in_threadpool(read_job, db, caller.project_id, job)
        state = shown.model_dump_json()
        if any(event.type == "phase.finished" for event in found.data):
            yield ServerSentEvent(id=str(after), event="results", data={"job": job})
        if found.data or state != seen:
            yield ServerSentEvent(id=str(after), event="changed", data={"job": job})
        if shown.is_terminal and not found.data:
            yield ServerSentEvent(event="done", data={"job": job})
            return
        seen = state


@router.post("/cancel")
def cancel(caller: Submitter, db: Db, job_id: str, baselines: bool = False) -> Response:
    cancel_job(db, caller.project_id, job_id, baselines=baselines)
    return _back(job_id)


@router.post("/pause")
def pause(caller: Submitter, db: Db, job_id: str) -> Response:
    pause_job(db, caller.project_id, job_id)
    return _back(job_id)


@router.post("/resume")
def resume(caller: Submitter, db: Db, settings: Config, job_id: str, accept: str | None = None) -> Response:
    """`accept=no_spark`: all the same."""
    sent = ResumeIn(accept="no_spark") if accept == StopReason.NO_SPARK else None
    resume_job(db, caller.project_id, job_id, settings, sent)
    return _back(job_id)


@router.post("/retry")
def retry(caller: Submitter, db: Db, settings: Config, job_id: str) -> Response:
    retry_job(db, caller.project_id, job_id, settings)
    return _back(job_id)


@router.post("/delete")
def delete(caller: Submitter, db: Db, job_id: str) -> Response:
    delete_job(db, caller.project_id, job_id)
    return RedirectResponse(url("jobs"), status_code=303)


@router.post("/describe")
def describe(caller: Submitter, db: Db, job_id: str, sent: Sent) -> Response:
    """Its name, and its metadata as the lines say: an entry that no line has is removed."""
    lines = [line.partition("=") for line in str(sent.get("metadata", "")).splitlines() if line.strip()]
    written = {name.strip(): value.strip() for name, _, value in lines}
    before = read_job(db, caller.project_id, job_id).metadata
    gone = dict.fromkeys(before.keys() - written.keys())
    wanted = {"name": str(sent.get("name", "")).strip() or None, "metadata": {**gone, **written}}
    describe_job(db, caller.project_id, job_id, checked(JobChanges, wanted))
    return _back(job_id)


@router.post("/archive")
def archive(caller: Submitter, db: Db, job_id: str, archived: bool = True) -> Response:
    archive_job(db, caller.project_id, job_id, archived=archived)
    return _back(job_id)


def _back(job_id: str) -> Response:
    return RedirectResponse(url("jobs", job_id), status_code=303)


def _now(caller: Caller, db: Db, settings: Settings, job_id: str, iteration: int | None) -> dict[str, Any]:
    job = read_job(db, caller.project_id, job_id)
    found = read_iterations(db, caller.project_id, job_id).data
    one = next((turn for turn in found if turn.number == iteration), found[-1] if found else None)
    first = next((turn for turn in found if turn.number == 0), None)

    def newest(metric: str) -> IterationOut | None:
        return next((turn for turn in reversed(found) if metric in turn.metrics), None)

    return {
        "job": job,
        "coach": read_advice(db, caller.project_id, job_id, one.number if one and iteration else None).data,
        "hero": hero(job, found, read_best_accuracies(db, [one["job"] for one in job.baselines])),
        "cost": read_cost_now(db, job_id, settings),
        "newest": newest,
        "chosen": iteration,
        "one": one,
        "first": first,
        "steps": stepper(job, found),
        "phases": phases(job, one) if one else [],
        "audits": audit_lines(one.metrics.get("audits", {})) if one else [],
        "funnel": funnel_rows(one.metrics) if one else [],
    }


def _names(caller: Caller, db: Db, job: JobOut) -> dict[str, str]:
    """Of the dataset and the prompt set, by their ids."""
    return {
        job.dataset: read_dataset(db, caller.project_id, job.dataset).name,
        job.prompt_set: read_prompt_set(db, caller.project_id, job.prompt_set).name,
    }


def _events(caller: Caller, db: Db, job_id: str) -> tuple[list[tuple[EventOut, str]], int]:
    """The newest ones first, and the seq of the very newest."""
    found = read_newest_events(db, caller.project_id, job_id, SHOWN_EVENTS)
    return [(event, told(event)) for event in found], found[0].seq if found else 0
