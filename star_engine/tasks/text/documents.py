"""Ordinary text: no question is asked of it and no answer is checked. Quiet-STaR reads it.

It is a kind so that documents are uploaded, split, listed and deleted as examples are: the text of a document
stands where a question does. Jobs that ask questions refuse the kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from star_engine.section import Section
from star_engine.tasks.examples import Asked, Example
from star_engine.tasks.hints import ANY_KIND, HintForm
from star_engine.tasks.layout import QUESTION_AND_ANSWER
from star_engine.tasks.task import TaskOptions
from star_engine.tasks.verdict import Verdict, VerdictCode, no_answer


class DocumentsOptions(Section):
    """None."""


class Documents:
    """Texts without an answer: every method that would judge one says that there is none."""

    kind = "documents"
    options: type[Section] = DocumentsOptions
    required_option: str | None = None
    layout = QUESTION_AND_ANSWER
    hint_forms: tuple[HintForm, ...] = ANY_KIND
    takes_choices = False
    solution_mark: str | None = None
    slow_gold = False
    closed_answers = False
    runs_programs = False
    needs_sandbox = False
    answer_shapes: tuple[str, ...] | None = None
    how_to_write = "no few-shot examples: documents are read, not asked"
    how_to_end = "Documents have no answers"

    def native(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return row

    def ask(self, example: Asked, *, hinted: bool) -> str:
        return example.question

    def hint(self, example: Asked) -> str:
        return ""

    def direct_answer(self, example: Asked) -> str:
        return ""

    def gold_text(self, example: Asked) -> str:
        return ""

    def read_gold(self, example: Example) -> Example:
        return example

    def check_gold(self, example: Asked, options: TaskOptions) -> None:
        """There is none to check."""

    def canonical_gold(self, example: Asked) -> str:
        return ""

    def any_gold(self, example: Example) -> Example:
        return example

    def other_gold(self, example: Example) -> Example:
        return example

    def guess_chance(self, example: Asked) -> float | None:
        return 0.0

    def grade(self, example: Asked, text: str, options: TaskOptions) -> Verdict:
        return no_answer(VerdictCode.UNPARSED, "no_answer_is_asked_for")

    def grade_direct(self, example: Asked, text: str, options: TaskOptions) -> Verdict:
        return no_answer(VerdictCode.UNPARSED, "no_answer_is_asked_for")

    def is_answer(self, example: Asked, text: str) -> bool:
        return False

    def asserted_at(self, example: Asked, text: str) -> int | None:
        return None

    def second_opinion(self, example: Asked, text: str) -> bool | None:
        return None
