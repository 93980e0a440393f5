"""What a filter may look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from star_engine.tasks.examples import Example
from star_engine.tasks.programs.tool_use import ToolUse
from star_engine.tasks.registry import task_of
from star_engine.tasks.task import Task


@dataclass(frozen=True, slots=True)
class FilterInput:
    """One correct rationale and its example. `completion` is cut at the first stop."""

    question: str  # with the earlier turns of its conversation
    answer: str  # gold; for kind choice the letter of the right one of `choices`
    choices: tuple[str, ...] | None
    kind: str  # see star_engine.tasks.registry
    route: str  # generated or rationalized
    completion: str
    hint: str | None = None  # the characters that the hint added to the prompt; None where none was shown
    fewshot_rationales: Sequence[str] = ()
    least_words: int = 4  # training_set.min_words: "96 / 12 = 8 days" is a rationale
    tools: ToolUse | None = None  # positions are those of `completion`; None: it had none

    @classmethod
    def of(cls, kind: str, example: Example, text: str) -> FilterInput:
        """A text that was shown no hint."""
        return cls(example.whole_question, example.answer, example.choices, kind, "generated", text)

    @property
    def task(self) -> Task:
        return task_of(self.kind)

    @property
    def example(self) -> Example:
        return Example("", self.question, self.answer, self.choices)

    @property
    def gold_text(self) -> str:
        """What a person would say: the text of the right choice, else the answer itself."""
        return self.task.gold_text(self.example)
