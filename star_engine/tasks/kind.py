"""The kinds of question."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """How questions are laid out and how answers are verified."""

    SCRATCHPAD = "scratchpad"  # digits after </scratch>: the paper's addition, section 4.3
    NUMERIC = "numeric"  # a number after ####: GSM8K, section 4.5
    CHOICE = "choice"  # a letter in parentheses: CommonsenseQA, section 4.4
    EXACT = "exact"  # a short text after #### or "the answer is", white space and case folded
    MATH = "math"  # an expression in \\boxed{} or after ####, compared by math-verify
    PATTERN = "pattern"  # what the job's own regular expression finds: verifier.pattern
