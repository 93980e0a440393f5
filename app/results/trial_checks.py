"""What can be wrong with a trial or an evaluation of an adapter before it costs GPU time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictInt
from sqlalchemy.orm import Session

from app.errors import Conflict, Invalid, NotFound
from app.http.schemas import In, Text
from app.jobs.prompt_lengths import check_lengths
from app.jobs.quiet_star.ask import thinking_evaluation, thinking_trial, thought_room
from app.jobs.settings import asked_prompts
from app.jobs.validate import check_turns
from app.ledger.data.datasets import get_dataset
from app.ledger.data.examples import each_example
from app.ledger.jobs.jobs import NewJob
from app.settings import Settings
from app.tables.data import Dataset, Model, PromptSet
from app.tables.jobs import Job
from app.tables.rationales import Adapter
from app.tables.statuses import Purpose
from star_engine.adapters.roles import NOT_ASKED, AdapterRole
from star_engine.config.star import MAX_TOKENS, StarConfig
from star_engine.data.prompt_sets import groups_without_examples
from star_engine.tasks.examples import Example
from star_engine.tasks.kind import Kind
from star_engine.tasks.registry import task_of

MAX_QUESTIONS = 32  # "a few": a dataset is what more of them are
PRIORITY = 100  # somebody waits for it


class QuestionIn(In):
    question: Annotated[Text, Field(min_length=1, max_length=20_000)]
    answer: Annotated[Text | None, Field(max_length=2000, description="With it, answers get a verdict.")] = (
        None
    )
    choices: Annotated[tuple[Text, ...] | None, Field(max_length=26)] = None
    group: Annotated[Text | None, Field(max_length=200)] = None


class TrialIn(In):
    """Questions for an adapter. It is asked the way its accuracy was measured: greedily."""

    questions: Annotated[tuple[QuestionIn, ...], Field(min_length=1, max_length=MAX_QUESTIONS)]
    kind: Annotated[
        Kind | None,
        Field(
            description="How an adapter that thinks between tokens is asked, and its answers are read; left "
            "out: the text goes on as it stands. Other adapters have their job's."
        ),
    ] = None
    beside_base: Annotated[StrictBool, Field(description="Ask the base model, few-shot, too.")] = False
    max_tokens: Annotated[StrictInt | None, Field(ge=1, le=MAX_TOKENS, description="None: the job's.")] = None


class EvaluationIn(In):
    """A dataset of the adapter's kind. `max_examples` of its split are asked; all where left out."""

    dataset: Annotated[Text, Field(max_length=200)]
    split: Literal["validation", "test"] = "test"
    max_examples: Annotated[StrictInt | None, Field(ge=1)] = None
    name: Annotated[Text | None, Field(min_length=1, max_length=200)] = None


def check_trial(
    session: Session, adapter: Adapter, job: Job, sent: TrialIn, settings: Settings
) -> tuple[NewJob, list[Example]]:
    """The trial as a job, and its questions as examples. Raises Invalid or Conflict."""
    if adapter.role is AdapterRole.QUIET:
        config = thinking_trial(job, sent.kind, sent.max_tokens, settings)
    else:
        changes = {} if sent.max_tokens is None else {"max_tokens": sent.max_tokens}
        config = _config(job, "generation", changes)
    if sent.kind not in (None, config.kind):
        reason = f"The adapter answers questions of kind {config.kind}."
        raise Invalid.for_field("kind", reason, "Leave it out.", code="kinds_differ")
    examples = [_example(config.kind, number, one) for number, one in enumerate(sent.questions)]
    dataset = session.get_one(Dataset, job.dataset_id)
    new = _new_job(session, adapter, job, Purpose.TRIAL, f"Trial of {adapter.id}", config, dataset)
    _check(session, new, examples, thought_room(adapter, job))
    return new, examples


def check_evaluation(
    session: Session, project_id: str, adapter: Adapter, job: Job, sent: EvaluationIn, settings: Settings
) -> NewJob:
    """The evaluation as a job. Raises Invalid or Conflict."""
    try:
        dataset = get_dataset(session, project_id, sent.dataset)
    except NotFound as missing:
        raise Invalid.for_field("dataset", missing.detail, "Use the id of one that GET lists.") from missing
    if adapter.role is AdapterRole.QUIET:
        config = thinking_evaluation(job, dataset, sent.split, sent.max_examples, settings)
    else:
        config = _config(job, "evaluation", {"split": sent.split, "max_examples": sent.max_examples})
    if dataset.kind != config.kind:
        reason = f"The adapter answers questions of kind {config.kind}, the dataset's are {dataset.kind}."
        raise Invalid.for_field("dataset", reason, "Use a dataset of the adapter's kind.")
    if not dataset.splits.get(sent.split):
        there = ", ".join(sorted(dataset.splits))
        reason = f"The dataset has no examples in the split {sent.split}, only in {there}."
        raise Invalid.for_field("split", reason, "Name a split that it has, or upload it with that split.")
    check_turns(session, dataset, config, "dataset")
    name = sent.name or f"{adapter.id} on {dataset.name}"
    new = _new_job(session, adapter, job, Purpose.EVALUATION, name, config, dataset)
    _check(session, new, each_example(session, dataset.id, [sent.split]), thought_room(adapter, job))
    return new


def _new_job(
    session: Session,
    adapter: Adapter,
    job: Job,
    purpose: Purpose,
    name: str,
    config: StarConfig,
    dataset: Dataset,
) -> NewJob:
    if adapter.role is AdapterRole.VERIFIER:
        reason = f"{adapter.id} is of the role {adapter.role}: {NOT_ASKED[adapter.role]}."
        raise Invalid.for_field("adapter", reason, "Name an adapter of the role generator or quiet.")
    if adapter.deleted_at is not None:
        raise Conflict("The adapter's weights have been deleted.", code="adapter_deleted")
    return NewJob(
        name=name,
        config=config,
        model=session.get_one(Model, job.model_id),
        dataset=dataset,
        prompt_set=session.get_one(PromptSet, job.prompt_set_id),
        priority=PRIORITY if purpose is Purpose.TRIAL else job.priority,
        labels={},
        purpose=purpose,
        adapter_id=adapter.id,
    )


def _config(job: Job, section: str, changes: Mapping[str, object]) -> StarConfig:
    """The settings that the adapter was measured with, some of one section changed."""
    return StarConfig.model_validate(
        {**job.stored_config, section: {**job.stored_config[section], **changes}}
    )


def _example(kind: Kind, number: int, sent: QuestionIn) -> Example:
    if task_of(kind).takes_choices and not sent.choices:
        reason = "The adapter picks one of several choices, and this question has none."
        raise Invalid.for_field(f"questions.{number}.choices", reason, "Give the choices as a list of texts.")
    return Example(
        id=str(number),
        question=sent.question,
        answer=sent.answer or "",
        choices=sent.choices,
        group=sent.group,
        split="validation",
    )


def _check(session: Session, new: NewJob, examples: Iterable[Example], reserved: int) -> None:
    """`reserved`: positions of the context that thoughts take."""
    prompt_set = asked_prompts(new.config, new.prompt_set, new.model)
    listed: Sequence[Example] = examples if isinstance(examples, list) else []
    asked = {example.group for example in listed}
    without = groups_without_examples(prompt_set, asked) if prompt_set.examples else ()
    if without:
        reason = f"The prompt set shows nothing to questions of these groups: {', '.join(without)}."
        raise Invalid.for_field("questions", reason, "Give each question a group that the prompt set knows.")
    check_lengths(new.model, prompt_set, new.config, examples, reserved=reserved)
