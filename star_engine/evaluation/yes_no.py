"""The yes/no verifier: whether a text is right is asked behind it, one word answers (arXiv 2408.15240)."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import TypeVar

from star_engine.evaluation.candidates import IMPOSSIBLE, Scored, score_distinct
from star_engine.protocols import TextScorer, TrainingText

QUESTION = "\nIs this answer right?"
YES, NO = " Yes", " No"

K = TypeVar("K", bound=Hashable)


def judged_text(text: TrainingText, *, right: bool) -> TrainingText:
    """The text with its judgement behind it, which alone is learned."""
    return TrainingText(text.prompt + text.completion + QUESTION, YES if right else NO, end=text.end)


def score_yes_no(scorer: TextScorer, texts: Sequence[tuple[K, TrainingText]]) -> Iterator[dict[K, Scored]]:
    """Yield log p(yes) - log p(no) of each text, in batches as `score_distinct` does; equal ones once.

    The difference, not p(yes): on words that a model has hardly seen, both probabilities are small.
    """
    asked = [
        ((key, right), judged_text(text, right=right), False)
        for key, text in texts
        for right in (True, False)
    ]
    for found in score_distinct(scorer, asked):
        yield {
            key: Scored(max(yes.total - found[key, False].total, IMPOSSIBLE), yes.tokens)
            for (key, right), yes in found.items()
            if right and (key, False) in found
        }
