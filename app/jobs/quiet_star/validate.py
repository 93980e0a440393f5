"""What can be wrong with a job on documents (Quiet-STaR), each with what to change."""

from __future__ import annotations

from sqlalchemy.orm import Session

from app.errors import Invalid, NotFound
from app.jobs.quiet_star.ask import is_asked_by_text
from app.jobs.quiet_star.work import memory_gib
from app.jobs.settings import JobIn
from app.ledger.data.datasets import get_dataset
from app.ledger.data.prompt_sets import get_prompt_set, no_few_shot
from app.ledger.queue.capacity import largest_gpu_gib
from app.tables.data import Dataset, Model, PromptSet
from star_engine.config.lora import MAX_LORA_RANK
from star_engine.config.quiet_star import OuterLoop, QuietStarMethod
from star_engine.config.star import StarConfig
from star_engine.tasks.kind import reads_documents

LEAST_SHARE = 0.95  # of a GPU: the rest is taken by contexts


def prompt_set_for(session: Session, project_id: str, sent: JobIn) -> PromptSet:
    """The prompt set without examples that jobs on documents have. Raises Invalid where another is named."""
    if sent.prompt_set is None:
        return no_few_shot(session, project_id)
    fix = "Leave prompt_set out: documents are read, not asked."
    try:
        row = get_prompt_set(session, project_id, sent.prompt_set)
    except NotFound as missing:
        raise Invalid.for_field("prompt_set", missing.detail, fix, code="unknown_prompt_set") from missing
    if not reads_documents(row.kind):
        reason = f"The dataset holds documents, the prompt set examples of kind {row.kind}."
        raise Invalid.for_field("prompt_set", reason, fix, code="kinds_differ")
    return row


def check_documents(
    session: Session, project_id: str, model: Model, dataset: Dataset, config: StarConfig
) -> None:
    """That segments fit the model, the workers' memory and the data. Raises Invalid."""
    if config.quiet_star is None or config.method is not OuterLoop.QUIET_STAR:
        reason = "The dataset holds documents, which no question is asked of."
        fix = "Use the preset quiet-star or fast-quiet-star."
        raise Invalid.for_field("preset", reason, fix, code="needs_documents_preset")
    method = config.quiet_star
    if dataset.splits.get(config.evaluation.split, 0) == 0:
        reason = (
            f"{dataset.id} has no documents in the split {config.evaluation.split} to measure thoughts on."
        )
        fix = "Upload it again with ?validation=N to hold out N documents."
        raise Invalid.for_field("dataset", reason, fix, code="no_held_out_split")
    if method.lora.rank > MAX_LORA_RANK:
        reason = f"No worker of this platform loads adapters of rank {method.lora.rank}."
        fix = f"Use at most {MAX_LORA_RANK}."
        raise Invalid.for_field("config.quiet_star.lora.rank", reason, fix, code="rank_too_high")
    _check_context(model, config, method)
    _check_memory(session, model, config, method)
    for other in config.evaluation.also:
        _check_questions(session, project_id, config, other)


def _check_context(model: Model, config: StarConfig, method: QuietStarMethod) -> None:
    longest = max(method.segment(number).longest for number in range(1, config.iterations + 1))
    if longest > model.context_length:
        reason = (
            f"A window with its thoughts takes {longest} positions; {model.id} has {model.context_length}."
        )
        fix = "Lower window, thought_tokens or ahead_tokens."
        raise Invalid.for_field("config.quiet_star.window", reason, fix, code="window_too_long")


def _check_memory(session: Session, model: Model, config: StarConfig, method: QuietStarMethod) -> None:
    needed = memory_gib(model, config, checkpointed=True)
    largest = largest_gpu_gib(session, model)
    if needed is None or largest is None or needed <= LEAST_SHARE * largest:
        return
    reason = (
        f"A step of micro_batch {method.micro_batch} with {method.rationales} thoughts at each of "
        f"{method.window} positions takes about {needed:.1f} GiB, with gradient checkpointing; the largest "
        f"GPU here has {largest:g} GiB."
    )
    fix = "Lower quiet_star.micro_batch, then window, thought_tokens or ahead_tokens."
    raise Invalid.for_field("config.quiet_star.micro_batch", reason, fix, code="not_enough_memory")


def _check_questions(session: Session, project_id: str, config: StarConfig, other: str) -> None:
    field, split = "config.evaluation.also", config.evaluation.split
    try:
        found = get_dataset(session, project_id, other)
    except NotFound as missing:
        fix = "Use the ids of datasets that GET lists."
        raise Invalid.for_field(field, missing.detail, fix, code="unknown_dataset") from missing
    if reads_documents(found.kind) or not is_asked_by_text(found.kind):
        reason = f"{other} is of kind {found.kind}, whose gold answers are no texts that can be scored."
        fix = "Name datasets of questions with short answers."
        raise Invalid.for_field(field, reason, fix, code="kinds_differ")
    if found.splits.get(split, 0) == 0:
        reason = f"{other} has no examples in the split {split}."
        fix = "Name a dataset with held-out questions."
        raise Invalid.for_field(field, reason, fix, code="no_held_out_split")
