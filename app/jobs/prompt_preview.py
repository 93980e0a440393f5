"""Previews a prompt set: the prompt for one example and the text that would be trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, Field, model_validator
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.data.tokenizers import count_tokens, needed_tokenizer
from app.database import reading
from app.errors import FieldError, Invalid
from app.http.schemas import In, Item, JsonObject, Text
from app.jobs.settings import ConfigOverrides, PresetName, asked_prompts, resolve_config, resolve_layout
from app.jobs.validate import refused_unfit
from app.ledger.data.base_models import get_model
from app.ledger.data.datasets import get_dataset
from app.ledger.data.examples import as_example, find_example
from app.ledger.data.prompt_sets import as_prompt_set, get_prompt_set
from app.tables.data import Model
from app.tables.data import PromptSet as PromptSetRow
from star_engine.config.star import StarConfig
from star_engine.data.prompts import render_completion
from star_engine.data.readers import read_example
from star_engine.data.row_errors import BadRows
from star_engine.data.validation import Unfit, check_answers, field_needing_solutions
from star_engine.sampling.rationales import Route, rationale_prompt
from star_engine.tasks.examples import Example, PromptSet
from star_engine.tasks.grading import grade
from star_engine.tasks.kind import Kind
from star_engine.tasks.registry import task_of
from star_engine.training_set.rows import training_prompt

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Id = Annotated[Text, Field(max_length=200)]


class PreviewIn(In):
    """One example, given inline or by its id in a dataset, and the job settings to preview with."""

    example: JsonObject | None = None  # a row: question, answer, choices...
    dataset: Id | None = None
    example_id: Id | None = None
    # None: the row is a few-shot example's own.
    rationale: Annotated[Text, Field(max_length=100_000)] | None = None
    model: Id | None = None  # counts tokens
    preset: PresetName = "star"
    config: ConfigOverrides = Field(default={})

    @model_validator(mode="after")
    def _one_example(self) -> PreviewIn:
        named = self.dataset is not None and self.example_id is not None
        if named == (self.example is not None) or (self.dataset is None) != (self.example_id is None):
            raise ValueError("Give either `example`, or `dataset` and `example_id`")
        return self


class PreviewSpanOut(BaseModel):
    """A part of prompt + completion, in characters."""

    start: int
    end: int
    trained: bool


class PreviewRowOut(BaseModel):
    """The loss covers the trained spans and the EOS after the completion."""

    prompt: str
    completion: str
    spans: list[PreviewSpanOut]
    stands_in: bool = Field(
        description="The row is a few-shot example's, question and rationale, because no rationale was sent."
    )
    verdict: str = Field(description="The verdict on the rationale; only `correct` is trained on.")
    extracted: str | None


class PreviewTokensOut(BaseModel):
    model: str
    context_length: int
    prompt: int
    hinted_prompt: int | None
    training_row: int = Field(description="EOS included.")
    trained: int = Field(description="Tokens of the training row that the loss covers.")
    fits: bool = Field(description="Whether the longest prompt plus max_tokens fits into the context.")


class PromptPreviewOut(Item):
    object: Literal["prompt_set.preview"] = "prompt_set.preview"
    prompt: str
    hinted_prompt: str | None
    training_row: PreviewRowOut
    tokens: PreviewTokensOut | None


def preview_prompts(
    db: Engine, project_id: str, offered: frozenset[str], prompt_set_id: str, sent: PreviewIn
) -> PromptPreviewOut:
    """The prompts of iteration 1 and the training row. Raises Invalid where the example cannot be asked."""
    with reading(db) as session:
        row = get_prompt_set(session, project_id, prompt_set_id)
        config = resolve_config(row.kind, sent.preset, sent.config)
        example = _example(session, project_id, config.kind, sent)
        model = get_model(session, sent.model, offered) if sent.model is not None else None
        config, prompt_set = _asked(session, config, row, model)
    if field_needing_solutions(config) and example.solution is None:
        raise Invalid.for_field(
            "example.solution",
            "Missing, and the hint shows it.",
            "Give it, or another hint.",
            code="no_solution",
            detail="The example has no worked solution.",
        )
    if example.context and not config.is_chat:
        reason = "It has turns before its question, and layout completion shows none."
        fix = "Set config.layout to chat, and name a model with a chat template."
        raise Invalid.for_field("example.messages", reason, fix, code="needs_chat_layout")
    try:  # a kind that reads no answer without an option of the job's
        check_answers(config, prompt_set, ())
    except Unfit as unfit:
        raise refused_unfit(unfit) from unfit
    prompt = rationale_prompt(config, prompt_set, example, Route.GENERATED, 1)
    hinted = None
    if config.rationalization.enabled:
        hinted = rationale_prompt(config, prompt_set, example, Route.RATIONALIZED, 1)
    shown = PromptPreviewOut(
        id=row.id,
        prompt=prompt,
        hinted_prompt=hinted,
        training_row=_training_row(config, prompt_set, example, sent.rationale),
        tokens=None,
    )
    if model is None:
        return shown
    tokens = _tokens(config, shown, needed_tokenizer(model), model.id, model.context_length)
    return shown.model_copy(update={"tokens": tokens})


def _asked(
    session: Session, config: StarConfig, row: PromptSetRow, model: Model | None
) -> tuple[StarConfig, PromptSet]:
    """Settings and prompt set of a job on this model; without a model in the completion layout."""
    if model is not None:
        config = resolve_layout(session, config, model)
        return config, asked_prompts(config, row, model)
    if config.is_chat:
        reason = "The chat layout is the model's own template."
        raise Invalid.for_field("model", reason, "Name the model.", code="no_model", detail=reason)
    return config, as_prompt_set(row)


def _example(session: Session, project_id: str, kind: Kind, sent: PreviewIn) -> Example:
    if sent.dataset is not None and sent.example_id is not None:
        dataset = get_dataset(session, project_id, sent.dataset)
        if dataset.kind != kind:
            reason = f"The dataset is of kind {dataset.kind}, the prompt set of kind {kind}."
            fix = "Use a dataset and a prompt set of one kind."
            raise Invalid.for_field("dataset", reason, fix, code="kinds_differ", detail=reason)
        return as_example(find_example(session, dataset.id, sent.example_id))
    try:
        return read_example(sent.example or {}, kind)
    except BadRows as bad:
        errors = tuple(FieldError(f"example.{e.field}", e.reason, e.fix) for e in bad.errors)
        raise Invalid("The example cannot be used.", code="invalid_rows", errors=errors) from bad


def _training_row(
    config: StarConfig, prompt_set: PromptSet, example: Example, rationale: str | None
) -> PreviewRowOut:
    text = rationale
    if text is None:
        shown = next(iter(prompt_set.for_group(example.group) or prompt_set.examples))
        example = Example(example.id, shown.question, shown.answer, shown.choices, shown.group)
        text = shown.rationale
    prompt = training_prompt(config, prompt_set, example)
    completion = render_completion(config.kind, text, prompt_set.chat, given=True)
    parts = [(0, len(prompt), config.training.loss == "all"), (len(prompt), len(prompt + completion), True)]
    found = grade(task_of(config.kind), example, text, config.verifier.options, stops=config.stops)
    return PreviewRowOut(
        prompt=prompt,
        completion=completion,
        spans=[PreviewSpanOut(start=start, end=end, trained=trained) for start, end, trained in parts],
        stands_in=rationale is None,
        verdict=str(found.verdict),
        extracted=found.extracted,
    )


def _tokens(
    config: StarConfig, shown: PromptPreviewOut, tokenizer: Tokenizer, model: str, context: int
) -> PreviewTokensOut:
    def count(text: str) -> int:
        return count_tokens(tokenizer, text)

    row = shown.training_row
    hinted = None if shown.hinted_prompt is None else count(shown.hinted_prompt)
    prompt, trained_prompt = count(shown.prompt), count(row.prompt)
    whole = count(row.prompt + row.completion) + 1
    return PreviewTokensOut(
        model=model,
        context_length=context,
        prompt=prompt,
        hinted_prompt=hinted,
        training_row=whole,
        trained=whole if config.training.loss == "all" else whole - trained_prompt,
        fits=max(prompt, hinted or 0) + config.generation.max_tokens <= context,
    )
