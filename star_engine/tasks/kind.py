"""The kinds of question by name."""

from __future__ import annotations

from enum import StrEnum
from functools import cache


class Kind(StrEnum):
    """The kinds of questions: how they are laid out and how answers are verified."""

    SCRATCHPAD = "scratchpad"  # digits after </scratch>: the paper's addition, section 4.3
    NUMERIC = "numeric"  # a number after ####: GSM8K, section 4.5
    CHOICE = "choice"  # a letter in parentheses: CommonsenseQA, section 4.4
    EXACT = "exact"  # a short text after #### or "the answer is", white space and case folded
    MATH = "math"  # an expression in \\boxed{} or after ####, compared by math-verify
    PATTERN = "pattern"  # what the job's own regular expression finds: verifier.pattern
    CODE = "code"  # a program that passes the tests of its question, executed in a sandbox
    PROGRAM = "program"  # what the job's own Python calls right: verifier.program
    REMOTE = "remote"  # what a grader over HTTPS calls right: verifier.grader_url
    DATE = "date"  # a calendar date, compared as ISO 8601
    DOCUMENTS = "documents"  # ordinary text without questions: what Quiet-STaR thinks about

    @classmethod
    def _missing_(cls, value: object) -> Kind | None:
        """Any other name under which a task is registered is a Kind too, though the API does not list it.

        So a program that uses the library can bring a kind of its own: `TASKS[task.kind] = task`.
        """
        from star_engine.tasks.registry import TASKS  # the registry's tasks import this module

        return _named(value) if isinstance(value, str) and value in TASKS else None


DOCUMENTS = Kind.DOCUMENTS


def reads_documents(kind: str) -> bool:
    """Whether a dataset of this kind holds text without questions."""
    return kind == Kind.DOCUMENTS


@cache
def _named(value: str) -> Kind:
    kind = str.__new__(Kind, value)
    kind._name_, kind._value_ = value.upper(), value
    return kind
