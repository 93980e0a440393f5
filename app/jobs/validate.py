"""Everything that can be wrong with a job before it costs GPU time, each with what to change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import Field, StrictBool, StrictInt, ValidationError, model_validator
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.data.tokenizers import tokenizer_of
from app.database import clock
from app.errors import FieldError, Invalid, NotFound
from app.http.problems import field_errors
from app.http.schemas import In, Moment, Name, Text
from app.jobs.overlap import check_other_datasets, few_shot_held_out
from app.jobs.prompt_lengths import SAMPLE_SIZE, all_fit, check_prompt_lengths, check_training_lengths
from app.jobs.settings import ConfigOverrides
from app.ledger.data.base_models import get_model
from app.ledger.data.chat_templates import asked_with, settled
from app.ledger.data.datasets import get_dataset
from app.ledger.data.examples import each_example, groups_of
from app.ledger.data.prompt_sets import get_prompt_set
from app.ledger.jobs.jobs import NewJob
from app.ledger.results.adapters import get_adapter
from app.settings import Settings
from app.tables.data import Dataset, Model
from app.tables.data import PromptSet as PromptSetRow
from app.webhooks.secrets import server_secret
from app.webhooks.validate import JobWebhookIn, check_url
from star_engine.adapters.roles import AdapterRole
from star_engine.config.presets import PRESETS, laid_over
from star_engine.config.reference import nearest
from star_engine.config.star import MAX_LORA_RANK, Labels, StarConfig
from star_engine.data.chat_template import UnfitTemplate
from star_engine.data.prompt_sets import groups_without_examples
from star_engine.data.selection import check_curriculum
from star_engine.data.validation import Unfit, check_answers, check_solutions, field_needing_solutions
from star_engine.sampling.probe import FEWEST, MOST
from star_engine.tasks.examples import Example, PromptSet
from star_engine.tasks.kind import Kind
from star_engine.tasks.registry import task_of

if TYPE_CHECKING:
    pass

T = TypeVar("T")


class BudgetIn(In):
    """Limits on what a job may use. The job ends with what it has once any of them is reached."""

    gpu_seconds: Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)] | None = None
    deadline: Moment | None = None
    deadline_seconds: Annotated[float, Field(gt=0, le=1e8, allow_inf_nan=False)] | None = None  # from now on

    @model_validator(mode="after")
    def _one_deadline(self) -> BudgetIn:
        if self.deadline is not None and self.deadline_seconds is not None:
            raise ValueError("Give either `deadline` or `deadline_seconds`")
        return self


class JobIn(In):
    """What to run: a base model, a dataset, a prompt set, and settings merged into a preset."""

    name: Name | None = None  # None: the dataset's
    model: Annotated[Text, Field(max_length=200)]
    dataset: Annotated[Text, Field(max_length=200)]
    prompt_set: Annotated[Text, Field(max_length=200)]
    preset: str = "star"
    config: ConfigOverrides = Field(default={}, description="Settings that differ from the preset's.")
    priority: Annotated[StrictInt, Field(ge=-100, le=100)] = 0  # higher goes first
    metadata: Annotated[
        dict[Annotated[Text, Field(max_length=64)], Annotated[Text, Field(max_length=512)]],
        Field(max_length=16),
    ] = Field(default={})
    budget: BudgetIn = Field(default=BudgetIn())
    webhook: JobWebhookIn | None = None  # of this job alone
    allow_overlap: StrictBool = Field(
        default=False, description="Run even though held-out questions of the dataset are also trained on."
    )
    dry_run: StrictBool = False  # check it, show what it would be and take, and make nothing
    probe: Annotated[StrictInt, Field(ge=FEWEST, le=MOST)] | None = Field(
        default=None,
        description="With dry_run: ask so many train questions, 8 tries each, to see how hard they are.",
    )
    return_equal: StrictBool = Field(
        default=False, description="Return an equal job that has not failed instead of creating a second one."
    )
    dedupe: StrictBool = Field(default=False, deprecated="Called return_equal now.")

    @property
    def wants_equal(self) -> bool:
        return self.return_equal or bool(self.__dict__["dedupe"])  # without the warning of a deprecated field


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
    row = _named("prompt_set", lambda: get_prompt_set(session, project_id, sent.prompt_set))
    if dataset.kind != row.kind:
        reason = f"The dataset is of kind {dataset.kind}, the prompt set of kind {row.kind}."
        raise Invalid.for_field(
            "prompt_set", reason, "Use a dataset and a prompt set of one kind.", code="kinds_differ"
        )
    config = resolve_layout(session, resolve_config(dataset.kind, sent.preset, sent.config), model)
    _check_grader(config, settings)
    prompt_set = asked_prompts(config, row, model)
    _check_answers(session, dataset, prompt_set, config)
    _check_splits(dataset, config)
    if not sent.allow_overlap:
        _check_overlap(dataset)
    _check_groups(session, dataset, prompt_set)
    _check_curriculum(session, dataset, config)
    _check_training(session, model, dataset, prompt_set, config)
    split = config.evaluation.split
    _check_dataset_lengths(session, model, prompt_set, config, dataset, ["train", split])
    for mix in config.training_set.mix:
        _check_mixed(session, project_id, dataset, prompt_set, config, mix.dataset)
    for other in config.evaluation.also:
        measured = _other_dataset(session, project_id, dataset, other, "config.evaluation.also", split)
        _check_dataset_lengths(session, model, prompt_set, config, measured, [split])
    if not sent.allow_overlap:
        check_other_datasets(session, dataset, config)
    _check_scorer(session, project_id, model, dataset, config)
    few_shot_held_out(session, dataset, prompt_set, split)
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
    """Raises Invalid for another job's verifier that cannot rank this job's answers."""
    test_time = config.evaluation.test_time
    name = None if test_time is None else test_time.ranker
    if name is None or name == AdapterRole.VERIFIER:
        return
    field = "config.evaluation.test_time.scorer"
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
    without = groups_without_examples(prompt_set, groups_of(session, found.id, "train"))
    if without and config.training_set.few_shot_in_prompt:
        reason = f"{other} has groups that the prompt set shows nothing to: {_listed(without)}."
        fix = "Add few-shot examples of these groups, or set training_set.few_shot_in_prompt to false."
        raise Invalid.for_field(field, reason, fix, code="groups_without_examples")


def resolve_config(kind: Kind, preset: str, overrides: Mapping[str, Any]) -> StarConfig:
    """Merge the overrides into the preset. Raises Invalid naming the fields at fault."""
    if preset not in PRESETS:
        raise Invalid.for_field(
            "preset", f"There is no {preset!r}.", f"Use one of {_listed(PRESETS)}.", code="unknown_preset"
        )
    if overrides.get("kind", kind) != kind:
        reason = f"The dataset is of kind {kind}."
        raise Invalid.for_field(
            "config.kind", reason, "Leave it out: it follows from the dataset.", code="kinds_differ"
        )
    settings = laid_over(PRESETS[preset](kind).model_dump(mode="json"), overrides)
    try:
        return StarConfig.model_validate(settings)
    except ValidationError as failure:
        errors = field_errors(failure.errors(), "config.", nearest)
        named = ", ".join(dict.fromkeys(error.field for error in errors))
        raise Invalid(
            f"The configuration is not valid: {named}.", code="invalid_config", errors=errors
        ) from failure


def resolve_layout(session: Session, config: StarConfig, model: Model) -> StarConfig:
    """The settings with the layout that the model's jobs have. Raises Invalid where it does not fit them."""
    today = session.scalars(select(clock())).one().date()
    try:
        return settled(config, model, today)
    except ValidationError as failure:
        errors = field_errors(failure.errors(), "config.", nearest)
        raise Invalid(
            "The layout does not fit the settings.", code="invalid_config", errors=errors
        ) from failure
    except UnfitTemplate as unfit:
        raise _refused_layout(unfit) from unfit


def asked_prompts(config: StarConfig, row: PromptSetRow, model: Model) -> PromptSet:
    """The prompt set as the job shows it to its model. Raises Invalid where the layout cannot be had."""
    try:
        return asked_with(config, row, model)
    except UnfitTemplate as unfit:
        raise _refused_layout(unfit) from unfit


def _refused_layout(unfit: UnfitTemplate) -> Invalid:
    reason, _, fix = str(unfit).partition(": ")
    fix = fix or "Use layout completion."
    return Invalid.for_field(
        "config.layout", f"{reason.rstrip('.')}.", f"{fix[0].upper()}{fix[1:]}", code="layout_unfit"
    )


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


def _check_overlap(dataset: Dataset) -> None:
    """For datasets from before an upload refused it. Those of choices are let pass: their count took the
    same words with other choices for the same question.
    """
    statistics = dataset.statistics or {}
    overlap = statistics.get("overlap", {})
    if "allowed" in overlap or statistics.get("choices"):  # judged at upload, or counted too high
        return
    if count := overlap.get("exact", {}).get("examples", 0):
        reason = f"The questions of {count} held-out examples of {dataset.id} are trained on."
        fix = "Upload it again without them, or set allow_overlap to true."
        raise Invalid.for_field("dataset", reason, fix, code="overlap")


def _check_groups(session: Session, dataset: Dataset, prompt_set: PromptSet) -> None:
    without = groups_without_examples(prompt_set, groups_of(session, dataset.id, "train"))
    if without:
        reason = f"It shows nothing to the examples of these groups: {_listed(without)}."
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


def check_lengths(
    model: Model, prompt_set: PromptSet, config: StarConfig, examples: Iterable[Example]
) -> None:
    """A hub model's tokenizer is not on this machine: there the first sampling step is what refuses."""
    tokenizer = tokenizer_of(model)
    if tokenizer is not None:
        check_prompt_lengths(tokenizer, model.context_length, config, prompt_set, examples)


def _check_dataset_lengths(
    session: Session,
    model: Model,
    prompt_set: PromptSet,
    config: StarConfig,
    dataset: Dataset,
    splits: list[str],
) -> None:
    """Do as check_lengths, without a look at the examples where what was counted at upload suffices."""
    tokenizer = tokenizer_of(model)
    longest = (dataset.statistics or {}).get("longest_bytes")
    sure = longest and tokenizer and all_fit(tokenizer, model.context_length, config, prompt_set, longest)
    examples = () if sure else each_example(session, dataset.id, splits)
    check_lengths(model, prompt_set, config, examples)


def _check_training(
    session: Session, model: Model, dataset: Dataset, prompt_set: PromptSet, config: StarConfig
) -> None:
    """What would fail at the first training."""
    if config.baselines_only:
        return
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


def _named(field: str, find: Callable[[], T], known: list[str] | None = None) -> T:
    try:
        return find()
    except NotFound as missing:
        fix = f"Use one of {_listed(known)}." if known else "Use the id of one that GET lists."
        raise Invalid.for_field(field, missing.detail, fix, code=f"unknown_{field}") from missing


def _listed(names: Mapping[str, Any] | list[str]) -> str:
    shown = list(names)[:20]
    return ", ".join(shown) + (", ..." if len(names) > len(shown) else "")
