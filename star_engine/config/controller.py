"""What a job decides about its own sampling before each iteration: a part of StarConfig."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from star_engine.section import Section

Temperature = Annotated[float, Field(gt=0, le=2)]
Threshold = Annotated[float, Field(ge=-1, le=1)]


PAPER_THRESHOLDS = tuple(tenth / 10 for tenth in range(-10, 11))


class Controller(Section):
    """Before each iteration, tries at some questions at every temperature of a grid; the best one is used.

    With a scorer the grid has thresholds of reward as well, and the best one filters the iteration's tries.

    What counts is the balance score of B-STaR (arXiv 2412.17256): enough distinct right tries of a question,
    and few among the right ones that repeat each other.
    """

    temperatures: Annotated[tuple[Temperature, ...], Field(min_length=1, max_length=16)] = (
        0.5,
        0.6,
        0.7,
        0.8,
        0.9,
        1.0,
        1.1,
        1.2,
    )
    """Temperatures that are tried, ascending. Of equal scores the lowest wins."""
    probe_examples: Annotated[int, Field(ge=1, le=10_000)] = 200
    """Train examples of the iteration that they are tried on, each generation.samples_per_example times."""
    rows_wanted: Annotated[int, Field(ge=1)] | None = None
    """Distinct right tries of a question that are enough (n* of the paper); null: steps x batch_size, divided
    by the examples of the iteration and rounded up.
    """

    scorer: Annotated[str, Field(pattern=r"^(verifier|adp_[0-9A-Za-z]+)$")] | None = None
    """What rewards a try beside its right answer: verifier (the job's own, of the iteration before), or
    another job's by its id; null: the answer alone counts, and there is no threshold.
    """
    thresholds: Annotated[tuple[Threshold, ...], Field(min_length=1, max_length=201)] = PAPER_THRESHOLDS
    """With a scorer: rewards above which a try is selected, ascending. A reward is 1 for a right answer plus
    what the scorer says, -1 to 1. Of equal scores the lowest wins. Wrong tries never train.
    """

    @field_validator("temperatures", "thresholds")
    @classmethod
    def _ascending(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if list(values) != sorted(set(values)):
            raise ValueError("the values ascend, and each is named once")
        return values
