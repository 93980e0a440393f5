"""The filters between correct and kept: each is named, counted and switchable, with one reason
code per drop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from star_engine.filters.answer_first import answer_first
from star_engine.filters.answer_only import answer_only
from star_engine.filters.cap_per_example import cap_per_example
from star_engine.filters.dedupe import dedupe, dedupe_key
from star_engine.filters.fewshot_copy import fewshot_copy
from star_engine.filters.filter_input import FilterInput
from star_engine.filters.hint_markers import hint_markers
from star_engine.filters.question_copy import question_copy
from star_engine.filters.start.repetition import repetition
from star_engine.filters.start.tool_calls import all_calls_failed, output_ignored, tool_fake
from star_engine.filters.step_arithmetic import step_arithmetic
from star_engine.filters.too_short import too_short

__all__ = [
    "FILTERS",
    "REASONS",
    "Filter",
    "FilterInput",
    "cap_per_example",
    "dedupe",
    "dedupe_key",
    "filters_named",
    "first_rejection",
]

Filter = Callable[[FilterInput], str | None]

# In the order in which they are best applied: the more telling reason first.
FILTERS: Mapping[str, Filter] = {
    "hint_markers": hint_markers,
    "answer_only": answer_only,
    "answer_first": answer_first,
    "question_copy": question_copy,
    "fewshot_copy": fewshot_copy,
    "step_arithmetic": step_arithmetic,
    "too_short": too_short,
    "repetition": repetition,
    "tool_fake": tool_fake,
    "all_calls_failed": all_calls_failed,
    "output_ignored": output_ignored,
}

# Every reason why a rationale is not trained on, in the order of the funnel. The list is closed.
REASONS: Mapping[str, str] = {
    "error": "the verifier itself failed",
    "truncated": "ran into the token limit before an answer",
    "unparsed": "no answer in a form that can be read",
    "ambiguous": "several answers, or one that is taken back",
    "wrong": "another answer than the gold one",
    "outvoted": "another answer than most tries at the example",
    "no_majority": "too few tries at the example agree on an answer",
    "overridden": "a reviewer said that it is wrong",
    "unhinted": "right without a hint, in an iteration that trains on what hints have brought",
    "run_on": "goes on after its answer, and cut there it is not correct",
    "duplicate": "the same text came for this example before",
    "hint_markers": "speaks of the hint, or repeats it",
    "answer_only": "nothing but the answer",
    "answer_first": "states the answer before any reasoning",
    "question_copy": "says the question again instead of reasoning",
    "fewshot_copy": "repeats a few-shot example",
    "step_arithmetic": "a calculation in it is false",
    "too_short": "reasons in too few words",
    "repetition": "says the same again and again",
    "tool_fake": "writes a tool's output itself, or prints an answer that nothing computes",
    "all_calls_failed": "every call of its tool failed",
    "output_ignored": "its answer does not stand in the last output of its tool",
    "hint_needed": "without the hint the rationale does not lead to the answer",
    "other_order": "with the choices in another order the answer is another one",
    "low_reward": "its reward is not above the iteration's threshold",
    "same_solution": "the example has its most rationales with these calculations already",
    "cap": "the example has its most rationales already",
    "surplus": "the examples before it gave the iteration all the rows that it needs",
}


def filters_named(names: Iterable[str]) -> list[Filter]:
    """The filters of these names, in the given order. Raises ValueError for an unknown name."""
    wanted = list(names)
    unknown = [name for name in wanted if name not in FILTERS]
    if unknown:
        raise ValueError(f"there is no filter {unknown[0]!r}; use some of {', '.join(FILTERS)}")
    return [FILTERS[name] for name in wanted]


def first_rejection(filters: Sequence[Filter], item: FilterInput) -> str | None:
    """The reason code of the first filter that rejects the rationale; None if all let it pass."""
    return next((reason for one in filters if (reason := one(item))), None)
