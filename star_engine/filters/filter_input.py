"""What a filter may look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FilterInput:
    """One correct rationale and its example. `completion` is cut at the first stop."""

    question: str
    answer: str  # gold; for kind choice the letter of the right one of `choices`
    choices: tuple[str, ...] | None
    kind: str  # a star_engine.tasks.verify.KINDS
    route: str  # generated or rationalized
    completion: str
    hint: str | None = None  # the characters that the hint added to the prompt; None where none was shown
    fewshot_rationales: Sequence[str] = ()
    least_words: int = 4  # training_set.min_words: "96 / 12 = 8 days" is a rationale

    @property
    def gold_text(self) -> str:
        """What a person would say: the text of the right choice, else the answer itself."""
        if self.kind != "choice" or not self.choices:
            return self.answer
        return self.choices[ord(self.answer.strip().strip("().").lower()) - ord("a")]
