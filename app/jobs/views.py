"""A job as it is shown: on its own, in a list, and as the answer of every verb."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from app.http.schemas import Resource, Timestamp
from app.ledger.jobs.facts import JobFacts, job_facts
from app.ledger.jobs.relations import REPLICATE
from app.ledger.queue.eta import Outlook, outlooks
from app.ledger.queue.position import Why
from app.ledger.transitions import TERMINAL
from app.settings import Settings
from app.tables.jobs import Job
from app.tables.statuses import JobStatus, Purpose
from app.webhooks.secrets import server_secret, webhook_secret


class BudgetOut(BaseModel):
    """Limits on what the job may use, and what it has used. null means no limit."""

    gpu_seconds: float | None
    gpu_seconds_used: Annotated[float, Field(description="Counts ended attempts of steps.")]
    deadline: Timestamp | None


class JobWebhookOut(BaseModel):
    id: str
    url: str
    events: list[str]
    secret: Annotated[str | None, Field(description="Shown only in the response that creates the job.")]


class QueueOut(BaseModel):
    """Why the job waits, if it does. `position` 1 is served next; numbers count all projects' steps."""

    position: int | None
    steps_ahead: int | None
    reason: Why
    message: str


class MeasuredOut(BaseModel):
    """Held-out accuracy of one iteration; iteration 0 is the better few-shot baseline."""

    iteration: int
    accuracy: float
    inherited: Annotated[bool, Field(description="Whether a fork took it over from the job it continues.")]


class CreatorOut(BaseModel):
    key: str
    name: str
    person: Annotated[
        str | None, Field(description="Whose personal key it is: the identity provider's subject.")
    ]


class UnknownOut(BaseModel):
    code: Literal["no_history", "no_worker", "paused", "no_price"]
    message: str


class JobOut(Resource):
    object: Literal["job"] = "job"
    name: str
    status: JobStatus
    is_terminal: bool
    phase: str | None
    iteration: int
    iterations: int
    stop_reason: str | None
    status_reason: dict[str, Any] | None
    progress: Annotated[
        dict[str, Any],
        Field(
            description="Of the current phase: done, total, unit; loading_seconds while the model is loaded."
        ),
    ]
    model: str
    dataset: str
    prompt_set: str
    config: dict[str, Any]
    priority: int
    metadata: dict[str, Any]
    purpose: Annotated[Purpose, Field(description="star, or evaluation: one adapter on one dataset.")]
    adapter: Annotated[str | None, Field(description="The adapter that an evaluation asks.")]
    retention: Annotated[dict[str, Any] | None, Field(description="Which adapters stay after its end.")]
    baselines: Annotated[list[dict[str, Any]], Field(description="job, preset and status of each baseline")]
    baseline_of: Annotated[str | None, Field(description="The job this is a baseline of.")]
    replicates: Annotated[
        list[dict[str, Any]], Field(description="job, seed and status of each replicate; see `seeds`")
    ]
    replicate_of: Annotated[str | None, Field(description="The job that this one repeats with another seed.")]
    forked_from: Annotated[
        dict[str, Any] | None, Field(description="job and iteration that it continues from")
    ]
    budget: BudgetOut
    webhook: Annotated[
        JobWebhookOut | None, Field(description="Webhooks of this job only; see /v1/webhooks.")
    ]
    queue: Annotated[QueueOut | None, Field(description="null once the job has ended.")]
    estimated_start_at: Annotated[Timestamp | None, Field(description="null once it has started.")]
    estimated_end_at: Annotated[
        Timestamp | None, Field(description="Assuming that it runs all its iterations.")
    ]
    estimate_unavailable: Annotated[UnknownOut | None, Field(description="Why an estimate is missing.")]
    created_by: Annotated[CreatorOut, Field(description="The API key that it was created with.")]
    started_at: Timestamp | None
    finished_at: Timestamp | None
    archived_at: Annotated[Timestamp | None, Field(description="Since when it is left out of lists.")]
    texts_removed_at: Annotated[
        Timestamp | None,
        Field(description="Since when its rationales and answers are gone, by the project's retention."),
    ]
    accuracies: Annotated[list[MeasuredOut], Field(description="Held out, by iteration.")]
    best: Annotated[
        dict[str, Any] | None,
        Field(
            description="iteration, accuracy, adapter_id; few_shot: the accuracy to beat; "
            "below_few_shot: whether it was not beaten; inherited: whether a fork took the iteration over"
        ),
    ]


def _inherited(job: Job, iteration: int) -> bool:
    """Whether a fork took the iteration over from the job that it continues."""
    return job.forked_from_iteration is not None and iteration <= job.forked_from_iteration


def show_job(session: Session, job: Job) -> JobOut:
    return show_jobs(session, [job])[0]


def show_jobs(session: Session, jobs: Sequence[Job]) -> list[JobOut]:
    """Return views of the jobs in the same order, with a constant number of queries."""
    session.flush()
    facts = job_facts(session, jobs)
    ahead = outlooks(session, jobs, {name: one.progress for name, one in facts.items()})
    return [_shown(job, facts[job.id], ahead.get(job.id)) for job in jobs]


def show_new_job(session: Session, job: Job, settings: Settings) -> JobOut:
    """The same, with the secret of the webhook that was made with it."""
    shown = show_job(session, job)
    if shown.webhook is None:
        return shown
    secret = webhook_secret(server_secret(settings), shown.webhook.id, version=1)
    return shown.model_copy(update={"webhook": shown.webhook.model_copy(update={"secret": secret})})


def _shown(job: Job, facts: JobFacts, ahead: Outlook | None) -> JobOut:
    hook, unknown = facts.webhook, ahead.unknown if ahead else None
    return JobOut(
        id=job.id,
        created_at=job.created_at,
        name=job.name,
        status=job.status,
        is_terminal=job.status in TERMINAL,
        phase=job.phase,
        iteration=job.iteration,
        iterations=job.stored_config["iterations"],
        stop_reason=job.stop_reason,
        status_reason=job.status_reason,
        progress=facts.progress,
        model=job.model_id,
        dataset=job.dataset_id,
        prompt_set=job.prompt_set_id,
        config=job.stored_config,
        priority=job.priority,
        metadata=job.labels,
        purpose=job.purpose,
        adapter=job.adapter_id,
        retention=job.retention,
        baselines=[
            {"job": one.id, "preset": one.baseline, "status": one.status}
            for one in facts.beside
            if one.baseline != REPLICATE
        ],
        baseline_of=None if job.baseline == REPLICATE else job.baseline_of,
        replicates=[
            {"job": one.id, "seed": one.stored_config["seed"], "status": one.status}
            for one in facts.beside
            if one.baseline == REPLICATE
        ],
        replicate_of=job.baseline_of if job.baseline == REPLICATE else None,
        forked_from=None
        if job.forked_from is None
        else {"job": job.forked_from, "iteration": job.forked_from_iteration},
        budget=BudgetOut(
            gpu_seconds=job.budget_gpu_seconds,
            gpu_seconds_used=round(facts.gpu_seconds, 3),
            deadline=job.deadline_at,
        ),
        webhook=JobWebhookOut(id=hook.id, url=hook.url, events=hook.events, secret=None) if hook else None,
        queue=QueueOut(**asdict(ahead.place)) if ahead else None,
        estimated_start_at=ahead.start_at if ahead else None,
        estimated_end_at=ahead.end_at if ahead else None,
        estimate_unavailable=UnknownOut(code=unknown.code, message=unknown.message) if unknown else None,
        created_by=CreatorOut(key=job.created_by, name=facts.created_by, person=facts.created_by_person),
        started_at=job.started_at,
        finished_at=job.finished_at,
        archived_at=job.archived_at,
        texts_removed_at=job.texts_removed_at,
        accuracies=[
            MeasuredOut(
                iteration=one.iteration, accuracy=one.accuracy, inherited=_inherited(job, one.iteration)
            )
            for one in facts.measured
        ],
        best=facts.best and {**facts.best, "inherited": _inherited(job, facts.best["iteration"])},
    )
