"""How an adapter that thinks between tokens is asked: settings of its trials and evaluations."""

from __future__ import annotations

from typing import Literal

from app.errors import Conflict, Invalid
from app.settings import Settings
from app.tables.data import Dataset
from app.tables.jobs import Job
from app.tables.rationales import Adapter
from star_engine.adapters.roles import UNTHINKING, AdapterRole
from star_engine.config.star import StarConfig
from star_engine.evaluation.zero_shot import zero_shot_config
from star_engine.tasks.kind import Kind, reads_documents
from star_engine.tasks.registry import task_of


def thinking_trial(job: Job, kind: Kind | None, max_tokens: int | None, settings: Settings) -> StarConfig:
    """Settings of a trial; no kind: texts go on as they stand. Raises Conflict or Invalid."""
    _refuse_vllm(settings)
    asked = job.config.kind if kind is None else kind
    _refuse_kind(asked, "kind")
    return zero_shot_config(asked, seed=job.config.seed, max_tokens=max_tokens)


def thinking_evaluation(
    job: Job,
    dataset: Dataset,
    split: Literal["validation", "test"],
    max_examples: int | None,
    settings: Settings,
) -> StarConfig:
    """Settings of an evaluation on a dataset of questions. Raises Conflict or Invalid."""
    _refuse_vllm(settings)
    if reads_documents(dataset.kind):
        reason = f"{dataset.id} holds documents, which have no answers."
        fix = "Name a dataset of questions; what thoughts are worth on documents is in the job's metrics."
        raise Invalid.for_field("dataset", reason, fix, code="kinds_differ")
    _refuse_kind(dataset.kind, "dataset")
    return zero_shot_config(dataset.kind, seed=job.config.seed, split=split, max_examples=max_examples)


def thought_room(adapter: Adapter, job: Job) -> int:
    """Positions of the model's context that the thought before a token takes; 0 where none is thought."""
    method = job.config.quiet_star
    if adapter.role is not AdapterRole.QUIET or method is None:
        return 0
    return method.segment(adapter.iteration_number).steps_of_thought + 2


def _refuse_vllm(settings: Settings) -> None:
    if settings.sampler == "vllm":
        raise Conflict(
            f"The adapter thinks between tokens, and the workers here sample by vLLM: {UNTHINKING}. Start "
            "workers with STAR_SAMPLER=transformers, or download it and write with star_engine, as its "
            "README.md shows.",
            code="vllm_cannot_think",
        )


def is_asked_by_text(kind: Kind) -> bool:
    """Whether answers of a kind are read from their text alone."""
    task = task_of(kind)
    return not task.runs_programs and task.required_option is None


def _refuse_kind(kind: Kind, field: str) -> None:
    if not is_asked_by_text(kind):
        reason = f"Answers of kind {kind} are read by programs, or by options that only a job has."
        raise Invalid.for_field(field, reason, "Use a kind of short answers.", code="kinds_differ")
