"""Fine-tuning jobs for the unmodified OpenAI client: the same jobs, in its words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal

from fastapi.concurrency import run_in_threadpool
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.database import reading, transaction
from app.errors import BadRequest
from app.http.auth import Reader, Submitter
from app.http.dependencies import Artifacts, Config, Db, JobSlots, OfferedModels, UploadSlots
from app.http.idempotency import IdempotencyKey
from app.http.router import api_router
from app.http.schemas import After, Item, Limit, Page, page
from app.jobs.create import fingerprint_of, made_once
from app.jobs.openai_fine_tuning import FineTuningIn, as_job, check_before_data, dataset_of
from app.jobs.validate import check_job
from app.ledger.events import newest_events
from app.ledger.jobs.facts import best_iteration
from app.ledger.jobs.jobs import (
    cancel_job,
    create_job,
    get_job,
    pause_job,
    remember_key,
    resume_job,
)
from app.ledger.jobs.lists import JobFilter, list_jobs
from app.ledger.platform.keys import Caller
from app.ledger.results.iterations import list_iterations
from app.settings import Settings
from app.tables.data import Dataset
from app.tables.files import FineTuningJob
from app.tables.jobs import Event, Iteration, Job
from app.tables.statuses import JobStatus

router = api_router("openai", "/v1/fine_tuning/jobs")

MAX_ITERATIONS = 200  # of a job
STATUS = {  # what its words lack is said in the nearest of them
    JobStatus.VALIDATING: "validating_files",
    JobStatus.PAUSING: "running",
    JobStatus.CANCELLING: "running",
}
LEVELS = {"step.retried": "warn", "job.paused": "warn", "job.failed": "error"}


class FineTuningJobOut(Item):
    object: Literal["fine_tuning.job"] = "fine_tuning.job"
    created_at: int
    finished_at: int | None
    estimated_finish: int | None = None
    error: dict[str, Any] | None
    fine_tuned_model: str | None
    hyperparameters: dict[str, Any]
    method: dict[str, Any]
    integrations: tuple[()] = ()
    metadata: dict[str, str]
    model: str
    organization_id: str
    result_files: tuple[()] = ()
    seed: int
    status: str
    trained_tokens: int | None
    training_file: str
    validation_file: str | None


class FineTuningEventOut(Item):
    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"
    created_at: int
    level: str
    message: str
    type: Literal["message", "metrics"]
    data: dict[str, Any]


class CheckpointOut(Item):
    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    created_at: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    metrics: dict[str, float]
    step_number: int


@router.post("", summary="Create a STaR job, as the OpenAI client does")
async def create(
    caller: Submitter,
    db: Db,
    storage: Artifacts,
    settings: Config,
    offered: OfferedModels,
    uploads: UploadSlots,
    slots: JobSlots,
    sent: FineTuningIn,
    idempotency_key: IdempotencyKey = None,
) -> FineTuningJobOut:
    """Create a fine-tuning job. `extra_body` carries `prompt_set` and optionally `preset`, `config`,
    `validation`.
    """
    project = caller.project_id
    kind = await run_in_threadpool(check_before_data, db, project, offered, sent)
    dataset = await uploads.run(project, dataset_of, db, storage, settings, project, sent, kind)
    return await slots.run(project, _create, db, caller, settings, offered, sent, dataset, idempotency_key)


def _create(
    db: Engine,
    caller: Caller,
    settings: Settings,
    offered: frozenset[str],
    sent: FineTuningIn,
    dataset: Dataset,
    key: str | None,
) -> FineTuningJobOut:
    fingerprint = fingerprint_of("fine_tuning", sent.model_dump_json())

    def make() -> FineTuningJobOut:
        with reading(db) as session:
            new = check_job(session, caller.project_id, offered, as_job(sent, dataset.id), settings)
        with transaction(db) as session:
            job = create_job(session, caller.project_id, caller.key_id, new, settings)
            files = (sent.training_file, sent.validation_file)
            session.add(FineTuningJob(job_id=job.id, training_file=files[0], validation_file=files[1]))
            session.flush()
            remember_key(session, job, key, fingerprint)
            return _out(session, job)

    return made_once(db, caller.project_id, key, fingerprint, make, _out)[0]


@router.get("", summary="List jobs as fine-tuning jobs, newest first")
def list_(caller: Reader, db: Db, limit: Limit = 20, after: After = None) -> Page[FineTuningJobOut]:
    with reading(db) as session:
        found = list_jobs(session, caller.project_id, where=JobFilter(), after=after, limit=limit + 1)
        return page([_out(session, job) for job in found], limit)


@router.get("/{job_id}", summary="Get a job as a fine-tuning job")
def get(caller: Reader, db: Db, job_id: str) -> FineTuningJobOut:
    with reading(db) as session:
        return _out(session, get_job(session, caller.project_id, job_id))


@router.post("/{job_id}/cancel", summary="Cancel a job for good")
def cancel(caller: Submitter, db: Db, job_id: str) -> FineTuningJobOut:
    return _change(db, caller, job_id, cancel_job)


@router.post("/{job_id}/pause", summary="Pause a job; nothing is lost")
def pause(caller: Submitter, db: Db, job_id: str) -> FineTuningJobOut:
    return _change(db, caller, job_id, pause_job)


@router.post("/{job_id}/resume", summary="Resume a paused job")
def resume(caller: Submitter, db: Db, settings: Config, job_id: str) -> FineTuningJobOut:
    return _change(db, caller, job_id, lambda session, job: resume_job(session, job, settings))


@router.get("/{job_id}/events", summary="List the events of a job, newest first")
def events(
    caller: Reader, db: Db, job_id: str, limit: Limit = 20, after: After = None
) -> Page[FineTuningEventOut]:
    """Oldest first, live and by stream: /v1/jobs/{id}/events."""
    before = None if after is None else _seq(after)
    with reading(db) as session:
        job = get_job(session, caller.project_id, job_id)
        found = newest_events(session, job.id, before, limit + 1)
        return page([_event(event) for event in found], limit)


@router.get("/{job_id}/checkpoints", summary="List the verified adapters of a job, newest first")
def checkpoints(
    caller: Reader, db: Db, job_id: str, limit: Limit = 10, after: After = None
) -> Page[CheckpointOut]:
    with reading(db) as session:
        job = get_job(session, caller.project_id, job_id)
        rows = list_iterations(session, job.id, after=-1, limit=MAX_ITERATIONS + 1)
        made = [_checkpoint(job, iteration, adapter) for iteration, adapter in reversed(rows) if adapter]
    seen = next((at for at, one in enumerate(made, start=1) if one.id == after), 0)
    return page(made[seen : seen + limit + 1], limit)


def _change(db: Engine, caller: Caller, job_id: str, verb: Callable[[Session, Job], Job]) -> FineTuningJobOut:
    with transaction(db) as session:
        job = verb(session, get_job(session, caller.project_id, job_id))
        session.flush()
        return _out(session, job)


def _out(session: Session, job: Job) -> FineTuningJobOut:
    asked = session.get(FineTuningJob, job.id)
    best = best_iteration(session, job) if job.status is JobStatus.SUCCEEDED else None
    config = job.config
    hyperparameters = {
        "n_epochs": getattr(config.training.schedule, "epochs", "auto"),
        "batch_size": config.training.batch_size,
        "learning_rate_multiplier": "auto",
    }
    return FineTuningJobOut(
        id=job.id,
        created_at=_seconds(job.created_at),
        finished_at=None if job.finished_at is None else _seconds(job.finished_at),
        error=_error(job) if job.status is JobStatus.FAILED else None,
        fine_tuned_model=None if best is None else str(best["adapter_id"]),
        hyperparameters=hyperparameters,
        method={"type": "supervised", "supervised": {"hyperparameters": hyperparameters}},
        metadata={name: str(value) for name, value in job.labels.items()},
        model=job.model_id,
        organization_id=job.project_id,
        seed=config.seed,
        status=STATUS.get(job.status, job.status),
        trained_tokens=_trained_tokens(session, job),
        training_file=job.dataset_id if asked is None else asked.training_file,
        validation_file=None if asked is None else asked.validation_file,
    )


def _error(job: Job) -> dict[str, Any]:
    reason = job.status_reason or {}
    return {"code": reason.get("code", "failed"), "message": reason.get("message", ""), "param": None}


def _trained_tokens(session: Session, job: Job) -> int | None:
    """Tokens that its training has seen so far; None before any."""
    rows = list_iterations(session, job.id, after=-1, limit=MAX_ITERATIONS + 1)
    tokens = [row.metrics["training"].get("tokens", 0) for row, _ in rows if "training" in row.metrics]
    return sum(tokens) if tokens else None


def _event(event: Event) -> FineTuningEventOut:
    measured = event.type == "iteration.finished"
    place = [f"{name} {event.data[name]}" for name in ("phase", "iteration") if name in event.data]
    return FineTuningEventOut(
        id=f"evt_{event.job_id}_{event.seq}",
        created_at=_seconds(event.created_at),
        level=LEVELS.get(event.type, "info"),
        message=" ".join([event.type.replace(".", " "), *place]),
        type="metrics" if measured else "message",
        data=event.data,
    )


def _seq(event_id: str) -> int:
    number = event_id.rpartition("_")[2]
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise BadRequest("`after` must be the id of an event of this job.")
    return int(number)


def _checkpoint(job: Job, iteration: Iteration, adapter_id: str) -> CheckpointOut:
    training, accuracy = iteration.metrics.get("training", {}), iteration.metrics.get("accuracy")
    found = {
        "step": iteration.number,
        "train_loss": training.get("loss_last"),
        "full_valid_mean_token_accuracy": accuracy,  # of whole answers: what STaR measures
    }
    return CheckpointOut(
        id=adapter_id,
        created_at=_seconds(iteration.created_at),
        fine_tuned_model_checkpoint=adapter_id,
        fine_tuning_job_id=job.id,
        metrics={name: float(value) for name, value in found.items() if value is not None},
        step_number=iteration.number,
    )


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())
