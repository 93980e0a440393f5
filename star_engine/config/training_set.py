"""What of the correct rationales is trained on, or of the dataset instead: a part of StarConfig."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, field_validator

from star_engine.section import Section

# Filters that cost samples: see star_engine.training_set.resample_filters.
Check = Literal["hint_free", "permuted_choices"]


MAX_MIXED = 0.9  # of the rows; the rest are the job's own


class Source(StrEnum):  # where the texts that are trained on come from
    RATIONALES = "rationales"  # the model writes them: STaR
    ANSWERS = "answers"  # the gold answers and nothing else: direct fine-tuning (Tables 1 and 2)
    SOLUTIONS = "solutions"  # the dataset's worked solutions


# They ask for reasoning before the answer: answers alone have none.
REASONING_FILTERS = frozenset({"answer_only", "answer_first", "too_short"})


class Mix(Section):
    """Another dataset's train split, mixed into every training set."""

    dataset: Annotated[str, Field(min_length=1, max_length=200)]
    """Id of the dataset, or its name in a job file."""
    share: Annotated[float, Field(gt=0, le=0.9)]
    """Its share of the rows trained on."""


class TrainingSetOptions(Section):
    """What of the correct rationales is trained on."""

    source: Source = Source.RATIONALES
    """Where the texts come from: rationales (STaR), or the dataset's answers or worked solutions."""
    filters: tuple[str, ...] = ("hint_markers", "answer_only")
    """Filters that a correct rationale must pass, by name."""
    checks: tuple[Check, ...] = ()
    """Filters that cost a completion per rationale: hint_free, permuted_choices."""
    min_words: Annotated[int, Field(ge=1)] = 4
    """Words of reasoning at least, where `filters` names too_short."""
    dedupe: bool = True
    """Train on equal rationales of one example once."""
    max_per_example: Annotated[int, Field(ge=1)] | None = None
    """Rows of one example at most; null: no limit."""
    max_per_solution: Annotated[int, Field(ge=1)] | None = None
    """Rows of one example with the same calculations at most, whatever their words; null: no limit. Texts
    without a calculation are the same if their words are. Counted before max_per_example.
    """
    min_kept: Annotated[int, Field(ge=1)] = 1
    """Fewer kept rows than this pause the job with a diagnosis."""
    few_shot_in_prompt: bool | Annotated[float, Field(ge=0, le=1)] = False
    """Few-shot examples in training prompts: in none, in all, or in this share of them."""
    window: Annotated[int, Field(ge=1, strict=True)] | Literal["all"] = 1
    """Iterations whose training sets are trained on, the newest included; all: every one so far."""
    mix: Annotated[tuple[Mix, ...], Field(max_length=8)] = ()
    """Other datasets whose solutions are mixed in, against forgetting."""

    @field_validator("filters")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        from star_engine.filters.registry import filters_named

        filters_named(names)  # ValueError naming the filters that there are
        return names

    @field_validator("mix")
    @classmethod
    def _leaving_room(cls, mix: tuple[Mix, ...]) -> tuple[Mix, ...]:
        if len({one.dataset for one in mix}) < len(mix):
            raise ValueError("a dataset is named twice; give it one share")
        if sum(one.share for one in mix) > MAX_MIXED:
            raise ValueError(f"the shares sum to more than {MAX_MIXED}; leave room for the job's own rows")
        return mix
