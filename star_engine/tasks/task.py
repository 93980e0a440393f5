"""What a kind of question is: all that the rest of the project asks of it.

A kind is one file beside this one, and a line in `registry.py`. Methods take whole examples, never their
answers, so that a kind may keep its gold in other fields than `answer`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from star_engine.section import Section
from star_engine.tasks.examples import Asked, Example
from star_engine.tasks.hints import HintForm
from star_engine.tasks.layout import Layout
from star_engine.tasks.verdict import Verdict

TaskOptions = Mapping[str, Any]  # of `Task.options`, those that are set


class Task(Protocol):
    """One kind of question. Its attributes never change; its methods are pure but for the time they take.

    Grade through `star_engine.tasks.grading`, which cuts the text and turns bad golds into verdicts.
    """

    kind: str  # as datasets, prompt sets and jobs name it
    options: type[Section]  # config.verifier.* of this kind, each with a default
    required_option: str | None  # without it nothing can be graded: then golds are checked for each job
    layout: Layout
    hint_forms: tuple[HintForm, ...]  # that a job may choose
    takes_choices: bool  # whether a question comes with texts to choose among
    solution_mark: str | None  # parts a worked solution from its answer where published rows give both
    # Whether a gold is checked in another process: 10 ms, and it may fail for reasons that pass. Where it is
    # not, the check of an answer without choices is remembered by the answer.
    slow_gold: bool
    closed_answers: bool  # where a token limit cut a text behind an answer, the answer is whole all the same
    runs_programs: bool  # whether grading asks a CodeRunner (programs/execution.py); never by a page
    needs_sandbox: bool  # whether such a program is code: then only where a sandbox is
    # The shapes of answers (app.intake.tally) that it compares by value; (): it compares characters alone.
    # None: its answers are told from each other in another way.
    answer_shapes: tuple[str, ...] | None
    how_to_write: str  # a few-shot block, in words
    how_to_end: str  # a rationale, in words

    def native(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """The row in this project's fields, where it is of a format in which such questions are published."""

    def ask(self, example: Asked, *, hinted: bool) -> str:
        """The block that asks; `hinted`: with the gold answer in the kind's own form."""

    def hint(self, example: Asked) -> str:
        """The characters that `hinted` adds, outer white space aside."""

    def direct_answer(self, example: Asked) -> str:
        """Return the target of a prompt that asks for the answer only, without the separator."""

    def gold_text(self, example: Asked) -> str:
        """The gold answer as a person would say it."""

    def read_gold(self, example: Example) -> Example:
        """The example of a row with its gold in the form that is stored. BadGold where it has none."""

    def check_gold(self, example: Asked, options: TaskOptions) -> None:
        """Raise BadGold, with the fix, unless the gold answer verifies against itself."""

    def canonical_gold(self, example: Asked) -> str:
        """The gold answer normalised: equal for equal answers. BadGold where it cannot be read."""

    def any_gold(self, example: Example) -> Example:
        """The example with a valid gold, whichever: graded against it, a text shows what it answers."""

    def other_gold(self, example: Example) -> Example:
        """The example with another gold than its own. A prompt without the hint must stay the same."""

    def guess_chance(self, example: Asked) -> float | None:
        """The chance that a guess is right; None: the share of the most common answer in the dataset."""

    def grade(self, example: Asked, text: str, options: TaskOptions) -> Verdict:
        """Judge a rationale by the answer at its end."""

    def grade_direct(self, example: Asked, text: str, options: TaskOptions) -> Verdict:
        """Judge a text that is only the answer, as direct prompts ask for it."""

    def is_answer(self, example: Asked, text: str) -> bool:
        """Whether a short text is the gold answer and nothing else; needs neither options nor a process."""

    def asserted_at(self, example: Asked, text: str) -> int | None:
        """Where a text says the gold answer before it has reasoned; None where it does not."""

    def second_opinion(self, example: Asked, text: str) -> bool | None:
        """Whether a text ends with the gold answer, by other code than `grade`; None: cannot tell."""
