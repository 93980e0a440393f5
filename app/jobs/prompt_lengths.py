"""Refuses prompts that cannot fit the context, by the model's own tokenizer, before any GPU time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from app.data.tokenizers import count_tokens, tokenizer_of
from app.errors import FieldError, Invalid
from app.ledger.data.examples import each_example
from app.tables.data import Dataset, Model
from star_engine.config.star import StarConfig
from star_engine.data.prompts import render_prompt
from star_engine.sampling.rationales import Route, rationale_prompt
from star_engine.tasks.examples import Example, PromptSet
from star_engine.training_set.rows import training_prompt

if TYPE_CHECKING:  # importing it takes 70 ms of every start, and is left to the first who counts tokens
    from tokenizers import Tokenizer

MAX_REPORTED = 20
SAMPLE_SIZE = 200  # training prompts that are counted; a row that is too long by itself is left out later
SHORTEST_COMPLETION = 4  # tokens, EOS included
SLACK = 16  # tokens by which a whole may exceed its parts: BOS, and white space that splits another way


def check_lengths(
    model: Model,
    prompt_set: PromptSet,
    config: StarConfig,
    examples: Iterable[Example],
    *,
    reserved: int = 0,
) -> None:
    """A hub model's tokenizer is not on this machine: there the first sampling step is what refuses.

    `reserved`: positions of the model's context that neither prompt nor completion may take.
    """
    tokenizer = tokenizer_of(model)
    if tokenizer is not None:
        check_prompt_lengths(tokenizer, model.context_length - reserved, config, prompt_set, examples)


def check_dataset_lengths(
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


def check_prompt_lengths(
    tokenizer: Tokenizer,
    context_length: int,
    config: StarConfig,
    prompt_set: PromptSet,
    examples: Iterable[Example],
) -> None:
    """Raises Invalid naming the examples whose prompt and `generation.max_tokens` exceed the context."""
    room = context_length - config.generation.max_tokens
    if room < 1:
        reason = f"{config.generation.max_tokens} tokens fill the model's context of {context_length}."
        raise Invalid.for_field(
            "config.generation.max_tokens",
            reason,
            f"Use fewer than {context_length}, the prompt needs room too.",
            code="prompt_too_long",
            detail="max_tokens leaves no room for a prompt.",
        )
    lengths = _Lengths(tokenizer, config, prompt_set)
    errors = tuple(islice(_too_long(lengths, room, examples), MAX_REPORTED))
    if errors:
        raise Invalid("Prompts are too long for the model's context.", code="prompt_too_long", errors=errors)


def all_fit(
    tokenizer: Tokenizer,
    context_length: int,
    config: StarConfig,
    prompt_set: PromptSet,
    longest: Mapping[str, int],
) -> bool:
    """Whether even the longest prompt of a dataset surely fits: then no example has to be looked at.

    `longest`: bytes, counted at upload. No tokenizer makes more tokens than there are bytes.
    """
    room = context_length - config.generation.max_tokens
    lengths = _Lengths(tokenizer, config, prompt_set)
    hint, template = config.rationalization, config.rationalization.template
    blocks = {Route.GENERATED: longest["block"]}
    if hint.enabled and template is None:
        blocks[Route.RATIONALIZED] = longest["hinted_block"]
    elif hint.enabled and template is not None:  # it holds the question once, and answer or solution once
        shown = max(longest["answer"], longest["solution"])
        blocks[Route.RATIONALIZED] = longest["block"] + len(template.encode()) + shown
    groups = {None, *(shown.group for shown in prompt_set.examples)}
    # The turns before a question, and what the template writes around each.
    before, exchanges = longest.get("context", 0), longest.get("exchanges", 0)
    return all(
        lengths.shared_tokens(group, route)
        + SLACK
        + size
        + before
        + (exchanges * lengths.exchange_tokens(group, route) if exchanges else 0)
        <= room
        for route, size in blocks.items()
        for group in groups
    )


def check_training_lengths(
    tokenizer: Tokenizer,
    context_length: int,
    config: StarConfig,
    prompt_set: PromptSet,
    examples: Iterable[Example],
) -> None:
    """Raises Invalid where no training prompt of some examples leaves room for a completion."""
    limit = min(config.training.max_length, context_length)
    prompts = [
        training_prompt(config, prompt_set, example)
        for example in islice(examples, SAMPLE_SIZE)
        if example.split == "train"
    ]
    shortest = min((count_tokens(tokenizer, prompt) for prompt in prompts), default=0)
    if shortest + SHORTEST_COMPLETION > limit:
        raise Invalid.for_field(
            "config.training.max_length",
            f"Training prompts have {shortest} tokens or more: {limit} leave no room to learn anything.",
            "Raise it, set training_set.few_shot_in_prompt to false, or use a model with a longer context.",
            code="max_length_too_short",
        )


def _too_long(lengths: _Lengths, room: int, examples: Iterable[Example]) -> Iterator[FieldError]:
    config = lengths.config
    for example in examples:
        routes = [Route.GENERATED]
        if config.rationalization.enabled and example.split == "train":
            routes.append(Route.RATIONALIZED)
        longest = max(lengths.tokens(example, route, room) for route in routes)
        if longest > room:
            yield FieldError(
                field="dataset",
                reason=f"The prompt of example {example.id!r} ({example.split}) has {longest} tokens; "
                f"the model's context leaves {room} beside max_tokens {config.generation.max_tokens}.",
                fix="Shorten it, show fewer few-shot examples, lower config.generation.max_tokens, or use a "
                "model with a longer context.",
            )


@dataclass(slots=True)
class _Lengths:
    """Token counts, exact only where it matters.

    The few-shot examples are most of a prompt and the same for every example of a group. They are counted
    once; a million examples then cost a million short sums instead of a billion tokens.
    """

    tokenizer: Tokenizer
    config: StarConfig
    prompt_set: PromptSet
    shared: dict[tuple[str | None, Route], int] = field(default_factory=dict)
    around: dict[tuple[str | None, Route], int] = field(default_factory=dict)

    def tokens(self, example: Example, route: Route, room: int) -> int:
        """The prompt's length if it may exceed `room`; else some number that does not."""
        block = render_prompt(  # as text in either layout: a turn holds no more of the example
            self.config.kind,
            replace(self.prompt_set, chat=None),
            replace(example, context=()) if example.context else example,
            hint=route is Route.RATIONALIZED,
            few_shot=False,
            hint_template=self.config.rationalization.template,
        )
        shared = self.shared_tokens(example.group, route) + SLACK
        if example.context:
            shared += len(example.context) * self.exchange_tokens(example.group, route)
            block += "".join(text for exchange in example.context for text in exchange)
        bound = shared + len(block.encode())  # no tokenizer makes more tokens than there are bytes
        if bound > room:
            bound = shared + self._count(block)
        return self._count(self._prompt(example, route)) if bound > room else bound

    def shared_tokens(self, group: str | None, route: Route) -> int:
        """Count the few-shot examples that are shown to this group, and what stands around the question."""
        if (group, route) not in self.shared:
            empty = Example(id="", question="", answer="", group=group, solution="")
            self.shared[group, route] = self._count(self._prompt(empty, route))
        return self.shared[group, route]

    def exchange_tokens(self, group: str | None, route: Route) -> int:
        """What the template writes around a user's turn and the answer to it, somewhat more."""
        if (group, route) not in self.around:
            empty = Example(id="", question="", answer="", group=group, solution="", context=(("", ""),))
            whole = self._count(self._prompt(empty, route))
            self.around[group, route] = whole - self.shared_tokens(group, route) + SLACK
        return self.around[group, route]

    def _prompt(self, example: Example, route: Route) -> str:
        return rationale_prompt(self.config, self.prompt_set, example, route, iteration=1)

    def _count(self, text: str) -> int:
        return count_tokens(self.tokenizer, text)
