"""Probes: a dry run that asks a sample of the train questions, and what is learnt from it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi.concurrency import run_in_threadpool
from pydantic import Field
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.data.tokenizers import tokenizer_of
from app.database import reading, transaction
from app.errors import Invalid
from app.http.schemas import Resource
from app.jobs.baselines import JobFamilyIn, check_family
from app.jobs.create import fingerprint_of, made_once
from app.jobs.dry_run.describe import DryRunOut, dry_run
from app.jobs.read import wait_for_end
from app.jobs.settings import asked_prompts
from app.jobs.workload import WorkOut, workload
from app.ledger.data.examples import each_example
from app.ledger.jobs.jobs import create_job, remember_key
from app.ledger.platform.keys import Caller
from app.ledger.platform.prices import prices_of
from app.ledger.quality.probes import Probed, as_probe, count_tries, get_probe, read_probed, tries_in_all
from app.ledger.transitions import TERMINAL
from app.settings import Settings
from app.tables.data import Dataset, Model, PromptSet
from app.tables.jobs import Job
from app.tables.statuses import JobStatus
from star_engine.config.star import StarConfig
from star_engine.config.training_set import Source
from star_engine.diagnostics.difficulty import Difficulty, difficulty
from star_engine.tasks import examples as tasks


class ProbeOut(Resource):
    """A sample of the train questions, asked as the job's first iteration would and more often.

    A job with the same settings finds these tries on record and does not sample them again.
    """

    object: Literal["probe"] = "probe"
    status: JobStatus
    is_terminal: bool
    status_reason: dict[str, Any] | None
    name: str
    model: str
    dataset: str
    questions: Annotated[int, Field(description="Train questions that are asked.")]
    stands_for: Annotated[int, Field(description="Train questions that an iteration of the job would ask.")]
    progress: Annotated[dict[str, int], Field(description="Questions: done and total, of all passes.")]
    recorded: Annotated[int, Field(description="Tries so far, those found on record included.")]
    reused: Annotated[int, Field(description="Tries that an earlier job or probe had made.")]
    difficulty: Annotated[Difficulty | None, Field(description="Once it has succeeded.")]
    work: Annotated[
        WorkOut | None, Field(description="As of a dry run, with the expected rows in place of the most.")
    ]
    gpu_seconds: Annotated[float, Field(description="That the probe itself has used.")]
    sampling_gpu_seconds: Annotated[
        float | None,
        Field(description="What the job's own tries would take at the probe's speed, over all iterations."),
    ]


class ProbedDryRunOut(DryRunOut):
    """A dry run with `probe`: ask for GET /v1/probes/{id} until it has ended."""

    probe: ProbeOut


def start_probe(
    db: Engine,
    caller: Caller,
    offered: frozenset[str],
    sent: JobFamilyIn,
    settings: Settings,
    key: str | None = None,
) -> tuple[ProbedDryRunOut, bool]:
    """The dry run with its probe, and whether an earlier request with this Idempotency-Key had made that."""
    project_id, questions = caller.project_id, sent.probe or 0
    with reading(db) as session:
        new = check_family(session, project_id, offered, sent, settings)
        _check_samples(new.config)
        tried = dry_run(session, new, prices_of(settings))

    def make() -> ProbedDryRunOut:
        with transaction(db) as session:
            job = create_job(session, project_id, caller.key_id, as_probe(new, questions), settings)
            remember_key(session, job, key, fingerprint)
            return shown(session, job)

    def shown(session: Session, job: Job) -> ProbedDryRunOut:
        return ProbedDryRunOut(**dict(tried), probe=_out(session, job))

    fingerprint = fingerprint_of("probe", sent.model_dump_json())
    return made_once(db, project_id, key, fingerprint, make, shown)


def read_probe(db: Engine, project_id: str, probe_id: str) -> ProbeOut:
    with reading(db) as session:
        return _out(session, get_probe(session, project_id, probe_id))


async def wait_for_probe(db: Engine, project_id: str, probe_id: str, wait: float) -> ProbeOut:
    """The probe once it has ended, or as it is after so many seconds."""
    await wait_for_end(db, project_id, probe_id, wait, get_probe)
    return await run_in_threadpool(read_probe, db, project_id, probe_id)


def _check_samples(config: StarConfig) -> None:
    if config.training_set.source is not Source.RATIONALES:
        raise Invalid.for_field(
            "probe",
            f"The job trains on the dataset's {config.training_set.source} and samples nothing.",
            "Leave `probe` out, or set training_set.source to rationales.",
            code="nothing_to_probe",
        )


def _out(session: Session, job: Job) -> ProbeOut:
    counts = count_tries(session, job)
    found, work, of_job = None, None, None
    probed = read_probed(session, job)
    if job.status is JobStatus.SUCCEEDED and probed.tries:
        prompt_set = _prompts(session, job)
        found = difficulty(job.config, prompt_set, probed.examples, probed.tries, probed.asked)
        work = _work(session, job, prompt_set, found.rows.expected)
        of_job = _sampling(job.config, probed, counts.tries - counts.reused, len(probed.examples))
    return ProbeOut(
        id=job.id,
        created_at=job.created_at,
        status=job.status,
        is_terminal=job.status in TERMINAL,
        status_reason=job.status_reason,
        name=job.name,
        model=job.model_id,
        dataset=job.dataset_id,
        questions=len(probed.examples),
        stands_for=probed.asked,
        progress=tries_in_all(session, job),
        recorded=counts.tries,
        reused=counts.reused,
        difficulty=found,
        work=work,
        gpu_seconds=round(probed.gpu_seconds, 3),
        sampling_gpu_seconds=of_job,
    )


def _prompts(session: Session, job: Job) -> tasks.PromptSet:
    row, model = session.get_one(PromptSet, job.prompt_set_id), session.get_one(Model, job.model_id)
    return asked_prompts(job.config, row, model)


def _work(session: Session, job: Job, prompt_set: tasks.PromptSet, kept: int) -> WorkOut:
    dataset, model = session.get_one(Dataset, job.dataset_id), session.get_one(Model, job.model_id)
    config = job.config.model_copy(update={"examples_per_iteration": job.stands_for})
    examples = each_example(session, dataset.id, ["train"])
    return workload(config, dataset.splits, prompt_set, examples, tokenizer_of(model), kept)


def _sampling(config: StarConfig, probed: Probed, made: int, questions: int) -> float | None:
    """GPU-seconds of the job's own tries, at the speed of those that the probe has made itself."""
    if not made or not probed.gpu_seconds or not questions:
        return None
    own = sum(one.key.sample < config.generation.samples_per_example for one in probed.tries)
    iterations = 0 if config.baselines_only else config.iterations
    return round(probed.gpu_seconds / made * own / questions * probed.asked * iterations, 1)
