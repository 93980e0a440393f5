"""Everything that can be wrong with a job before it costs GPU time, each with what to change."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.data.tokenizers import tokenizer_of
from app.database import clock
from app.errors import FieldError, Invalid, NotFound
from app.jobs.overlap import check_other_datasets, check_own_overlap, few_shot_held_out
from app.jobs.prompt_lengths import SAMPLE_SIZE, check_dataset_lengths, check_training_lengths
from app.jobs.quiet_star.validate import check_documents, prompt_set_for
from app.jobs.settings import BudgetIn, JobIn, asked_prompts, listed, resolve_config, resolve_layout
from app.ledger.data.base_models import get_model
from app.ledger.data.datasets import get_dataset
from app.ledger.data.examples import conversations, each_example, groups_of
from app.ledger.data.model_memory import too_large
from app.ledger.data.prompt_sets import get_prompt_set
from app.ledger.jobs.jobs import NewJob
from app.ledger.results.adapters import get_adapter
from app.settings import Settings
from app.tables.data import Dataset, Model
from app.tables.data import PromptSet as PromptSetRow
from app.webhooks.secrets import server_secret
from app.webhooks.validate import check_url
from star_engine.adapters.roles import AdapterRole
from star_engine.config.lora import MAX_LORA_RANK
from star_engine.config.star import Labels, StarConfig
from star_engine.data.prompt_sets import groups_without_examples
from star_engine.data.selection import check_curriculum
from star_engine.data.validation import Unfit, check_answers, check_solutions, field_needing_solutions
from star_engine.tasks.examples import PromptSet
from star_engine.tasks.kind import Kind, reads_documents
from star_engine.tasks.registry import task_of

T = TypeVar("T")


def check_job(
    session: Session, project_id: str, offered: frozenset[str], sent: JobIn, settings: Settings
) -> NewJob:
    """The job that was asked for, its configuration resolved. Raises Invalid with what to change."""
    if sent.webhook is not None:
        server_secret(settings)
        check_url(sent.webhook.url, settings, "webhook.url")
    deadline_at = _deadline(session, sent.budget)
    model = _named("model", lambda: get_model(session, sent.model, offered), sorted(offered))
    dataset = _named("dataset", lambda: get_dataset(session, project_id, sent.dataset))
    if reads_documents(dataset.kind):
        return _check_on_documents(session, project_id, sent, model, dataset, deadline_at)
    if (named := sent.prompt_set) is None:
        fix = "Give the id of a prompt set: the few worked examples that questions are asked with."
        raise Invalid.for_field("prompt_set", "It is left out.", fix, code="prompt_set_required")
    row = _named("prompt_set", lambda: get_prompt_set(session, project_id, named))
    if dataset.kind != row.kind:
        reason = f"The dataset is of kind {dataset.kind}, the prompt set of kind {row.kind}."
        raise Invalid.for_field(
            "prompt_set", reason, "Use a dataset and a prompt set of one kind.", code="kinds_differ"
        )
    config = resolve_layout(session, resolve_config(dataset.kind, sent.preset, sent.config), model)
    _check_grader(config, settings)
    check_turns(session, dataset, config, "dataset")
    prompt_set = asked_prompts(config, row, model)
    _check_answers(session, dataset, prompt_set, config)
    _check_splits(dataset, config)
    if not sent.allow_overlap:
        check_own_overlap(dataset)
    check_groups(session, dataset, prompt_set)
    _check_curriculum(session, dataset, config)
    _check_training(session, model, dataset, prompt_set, config)
    split = config.evaluation.split
    check_dataset_lengths(session, model, prompt_set, config, dataset, ["train", split])
    _check_others(session, project_id, model, dataset, prompt_set, config)
    if not sent.allow_overlap:
        check_other_datasets(session, dataset, config)
    _check_scorer(session, project_id, model, dataset, config)
    few_shot_held_out(session, dataset, prompt_set, split)
    return _new_job(sent, config, model, dataset, row, deadline_at)


def _check_on_documents(
    session: Session,
    project_id: str,
    sent: JobIn,
    model: Model,
    dataset: Dataset,
    deadline_at: datetime | None,
) -> NewJob:
    if model.trained_as is not None:
        reason = f"{model.id} is quantized, and what thinks between tokens is sampled as it is trained."
        raise Invalid.for_field("model", reason, f"Use {model.trained_as}.", code="quantized_model")
    row = prompt_set_for(session, project_id, sent)
    config = resolve_config(dataset.kind, sent.preset, sent.config)
    check_documents(session, project_id, model, dataset, config)
    if not sent.allow_overlap:
        check_own_overlap(dataset)
    if sent.probe is not None:
        reason = "A probe asks questions, and the dataset holds documents."
        raise Invalid.for_field("probe", reason, "Leave it out.", code="no_questions")
    return _new_job(sent, config, model, dataset, row, deadline_at)


def _new_job(
    sent: JobIn,
    config: StarConfig,
    model: Model,
    dataset: Dataset,
    row: PromptSetRow,
    deadline_at: datetime | None,
) -> NewJob:
    return NewJob(
        name=sent.name or dataset.name,
        config=config,
        model=model,
        dataset=dataset,
        prompt_set=row,
        priority=sent.priority,
        labels=dict(sent.metadata),
        budget_gpu_seconds=sent.budget.gpu_seconds,
        deadline_at=deadline_at,
        webhook=(sent.webhook.url, list(sent.webhook.events)) if sent.webhook is not None else None,
    )


def check_settings(session: Session, offered: frozenset[str], sent: JobIn, kind: Kind) -> None:
    """What can be checked of a job whose dataset is not there yet. Raises Invalid."""
    _named("model", lambda: get_model(session, sent.model, offered), sorted(offered))
    resolve_config(kind, sent.preset, sent.config)


def _deadline(session: Session, budget: BudgetIn) -> datetime | None:
    """Return the deadline by the database's clock, like everything that decides."""
    now = session.scalars(select(clock())).one()
    if budget.deadline_seconds is not None:
        return now + timedelta(seconds=budget.deadline_seconds)
    if budget.deadline is not None and budget.deadline <= now:
        fix = "Give a time to come."
        raise Invalid.for_field("budget.deadline", "The deadline has passed.", fix, code="deadline_passed")
    return budget.deadline


def _check_others(
    session: Session,
    project_id: str,
    model: Model,
    dataset: Dataset,
    prompt_set: PromptSet,
    config: StarConfig,
) -> None:
    """The datasets that are mixed in, and those that are measured along."""
    for mix in config.training_set.mix:
        _check_mixed(session, project_id, dataset, prompt_set, config, mix.dataset)
    split = config.evaluation.split
    for other in config.evaluation.also:
        measured = _other_dataset(session, project_id, dataset, other, "config.evaluation.also", split)
        check_turns(session, measured, config, "config.evaluation.also")
        check_dataset_lengths(session, model, prompt_set, config, measured, [split])


def _other_dataset(
    session: Session, project_id: str, dataset: Dataset, other: str, field: str, split: str
) -> Dataset:
    """Return the dataset that `field` names. Raises Invalid if it cannot be used with the job's own."""
    try:
        found = get_dataset(session, project_id, other)
    except NotFound as missing:
        fix = "Use the ids of datasets that GET lists."
        raise Invalid.for_field(field, missing.detail, fix, code="unknown_dataset") from missing
    if found.id == dataset.id or found.kind != dataset.kind:
        reason = (
            f"{other} is the job's own dataset."
            if found.id == dataset.id
            else (f"{other} is of kind {found.kind}, the job's dataset of kind {dataset.kind}.")
        )
        raise Invalid.for_field(field, reason, "Name other datasets of the same kind.", code="kinds_differ")
    if found.splits.get(split, 0) == 0:  # never train: an upload without it is refused
        reason = f"{other} has no examples in the split {split}."
        raise Invalid.for_field(
            field, reason, "Upload it again with some held out.", code="no_held_out_split"
        )
    return found


def _check_scorer(
    session: Session, project_id: str, model: Model, dataset: Dataset, config: StarConfig
) -> None:
    """Raises Invalid for another job's verifier that cannot rank this job's answers, or reward its tries."""
    test_time, controller = config.evaluation.test_time, config.controller
    for field, name in (
        ("config.evaluation.test_time.scorer", None if test_time is None else test_time.ranker),
        ("config.controller.scorer", None if controller is None else controller.scorer),
    ):
        if name is not None and name != AdapterRole.VERIFIER:
            _check_others_verifier(session, project_id, model, dataset, config, field, name)


def _check_others_verifier(
    session: Session,
    project_id: str,
    model: Model,
    dataset: Dataset,
    config: StarConfig,
    field: str,
    name: str,
) -> None:
    fix = "Name a verifier of the project on the same base model and kind of question, or leave scorer out."
    try:
        adapter, job = get_adapter(session, project_id, name)
    except NotFound as missing:
        raise Invalid.for_field(field, missing.detail, fix, code="unknown_adapter") from missing
    reason = None
    if adapter.role is not AdapterRole.VERIFIER:
        reason = f"{name} is a {adapter.role}, not a verifier."
    elif adapter.deleted_at is not None:
        reason = f"The weights of {name} have been deleted."
    elif (job.model_id, job.config.kind) != (model.id, dataset.kind):
        reason = f"{name} reads answers of kind {job.config.kind} by {job.model_id}."
    elif config.training.lora.rank < job.config.training.lora.rank:
        ranks = (job.config.training.lora.rank, config.training.lora.rank)
        reason = f"{name} has LoRA matrices of rank {ranks[0]}, the job's adapters of rank {ranks[1]}."
    elif "controller" in field and adapter.training.get("reference") == "first_iteration":
        reason = f"{name} was trained from an adapter of its own job, without which it gives no rewards."
    if reason is not None:
        raise Invalid.for_field(field, reason, fix, code="unfit_scorer")


def _check_mixed(
    session: Session,
    project_id: str,
    dataset: Dataset,
    prompt_set: PromptSet,
    config: StarConfig,
    other: str,
) -> None:
    field = "config.training_set.mix"
    found = _other_dataset(session, project_id, dataset, other, field, "train")
    check_turns(session, found, config, field)
    without = groups_without_examples(prompt_set, groups_of(session, found.id, "train"))
    if without and config.training_set.few_shot_in_prompt:
        reason = f"{other} has groups that the prompt set shows nothing to: {listed(without)}."
        fix = "Add few-shot examples of these groups, or set training_set.few_shot_in_prompt to false."
        raise Invalid.for_field(field, reason, fix, code="groups_without_examples")


def _check_answers(session: Session, dataset: Dataset, prompt_set: PromptSet, config: StarConfig) -> None:
    """Golds are verified at upload, but for kinds that read none without an option of the job."""
    by_options = task_of(config.kind).required_option is not None
    train = [] if config.labels is Labels.MAJORITY_VOTE else ["train"]
    golds = each_example(session, dataset.id, [*train, config.evaluation.split]) if by_options else ()
    try:
        check_answers(config, prompt_set, golds)
        if field_needing_solutions(config):
            check_solutions(config, each_example(session, dataset.id, ["train"]))
    except Unfit as unfit:
        raise refused_unfit(unfit) from unfit


def check_turns(session: Session, dataset: Dataset, config: StarConfig, field: str) -> None:
    """Raises Invalid for conversations in the completion layout, where a prompt asks one question."""
    if not config.is_chat and conversations(session, dataset):
        reason = f"Questions of {dataset.id} stand behind earlier turns, and layout completion shows none."
        fix = "Use layout chat on a model with a chat template, or upload questions that stand alone."
        raise Invalid.for_field(field, reason, fix, code="needs_chat_layout")


def refused_unfit(unfit: Unfit) -> Invalid:
    """Describe each few-shot example or row at fault, and what to change, for the submitter."""
    errors = tuple(FieldError(unfit.field, e.reason, e.fix, e.line or None) for e in unfit.errors)
    return Invalid("The settings do not fit the data.", code="settings_unfit", errors=errors)


def _check_grader(config: StarConfig, settings: Settings) -> None:
    """That the grader's address may be asked and what it is sent can be signed; nothing is sent yet."""
    if config.verifier.grader_url is not None:
        server_secret(settings)
        check_url(config.verifier.grader_url, settings, "config.verifier.grader_url", "bad_grader_url")


def _check_splits(dataset: Dataset, config: StarConfig) -> None:
    split = config.evaluation.split
    if dataset.splits.get(split, 0) > 0:
        return
    fix = 'Upload it again with rows marked "split": "test", or evaluate on the split validation.'
    if split == "validation":
        fix = 'Upload it again with ?validation=N to carve out N rows, or mark rows "split": "validation".'
    reason = f"The dataset {dataset.id} has no examples in the split {split}, which accuracy is measured on."
    raise Invalid.for_field("dataset", reason, fix, code="no_held_out_split")


def check_groups(session: Session, dataset: Dataset, prompt_set: PromptSet) -> None:
    """Raises Invalid where examples of the train split would be shown nothing, for their group has none."""
    without = groups_without_examples(prompt_set, groups_of(session, dataset.id, "train"))
    if without:
        reason = f"It shows nothing to the examples of these groups: {listed(without)}."
        fix = "Add few-shot examples of these groups, or some without a group."
        raise Invalid.for_field("prompt_set", reason, fix, code="groups_without_examples")


def _check_curriculum(session: Session, dataset: Dataset, config: StarConfig) -> None:
    if not config.curriculum:
        return
    try:
        check_curriculum(config, groups_of(session, dataset.id, "train"))
    except ValueError as problem:
        fix = "Name only these groups, or mark the rows of the dataset with their group."
        raise Invalid.for_field("config.curriculum", str(problem), fix, code="unknown_group") from problem


def _check_training(
    session: Session, model: Model, dataset: Dataset, prompt_set: PromptSet, config: StarConfig
) -> None:
    """What would fail at the first training."""
    if config.baselines_only:
        return
    _check_held(session, model, config)
    rank = config.training.lora.rank
    if rank > MAX_LORA_RANK:
        raise Invalid.for_field(
            "config.training.lora.rank",
            f"No sampler of this platform loads adapters of rank {rank}.",
            f"Use at most {MAX_LORA_RANK}.",
            code="rank_too_high",
        )
    tokenizer = tokenizer_of(model)
    if tokenizer is not None:
        some = each_example(session, dataset.id, ["train"], SAMPLE_SIZE)
        check_training_lengths(tokenizer, model.context_length, config, prompt_set, some)


def _check_held(session: Session, model: Model, config: StarConfig) -> None:
    """Whether the base model, as it is held while an adapter is trained, fits its workers and the job."""
    quantization = config.training.quantization
    if (needed := too_large(session, model, quantization)) is not None:
        fix = 'Set training.quantization to "nf4", or use a smaller model.'
        if quantization is not None:
            fix = "Set training.quantization to null, or use a smaller model."
        reason = f"A training on {model.id} takes {needed:.0f} GiB, more than its workers have to have."
        raise Invalid.for_field("config.training.quantization", reason, fix, code="model_too_large")
    if model.trained_as is None:
        return
    for name in ("preference", "trained_verifier"):
        if getattr(config, name) is not None:
            raise Invalid.for_field(
                f"config.{name}",
                f"{model.id} is quantized: its scores of a pair are not those of {model.trained_as}, on "
                "which adapters are trained.",
                f"Use the model {model.trained_as}, or leave {name} out.",
                code="quantized_model",
            )


def _named(field: str, find: Callable[[], T], known: list[str] | None = None) -> T:
    try:
        return find()
    except NotFound as missing:
        fix = f"Use one of {listed(known)}." if known else "Use the id of one that GET lists."
        raise Invalid.for_field(field, missing.detail, fix, code=f"unknown_{field}") from missing
