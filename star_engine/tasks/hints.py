"""The ways to show a gold answer in a prompt."""

from __future__ import annotations

from enum import StrEnum

# Behind the right choice in a hinted prompt, and therefore refused in every text that is trained on.
HINT_MARK = "(CORRECT)"


class HintForm(StrEnum):
    """How a hinted prompt states the gold answer."""

    MARK_ON_CHOICE = "mark_on_choice"  # " (CORRECT)" behind the right choice: CommonsenseQA
    AFTER_QUESTION = "after_question"  # " (72)" behind the question: GSM8K
    AFTER_TARGET = "after_target"  # " 8 8 3" behind "Target:": addition
    FULL_SOLUTION = "full_solution"  # the dataset's worked solution behind the question: released code, GSM8K

    @property
    def template(self) -> str | None:
        """What stands in place of the question; None where the kind itself lays the hint out."""
        if self is HintForm.AFTER_QUESTION:
            return "{question} ({answer})"
        return "{question} ({solution})" if self is HintForm.FULL_SOLUTION else None


# What every kind can show; a kind's own form comes first in its `hint_forms`.
ANY_KIND = (HintForm.AFTER_QUESTION, HintForm.FULL_SOLUTION)
