"""What a job decides about its own sampling before each iteration: a part of StarConfig."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from star_engine.section import Section

Temperature = Annotated[float, Field(gt=0, le=2)]


class Controller(Section):
    """Before each iteration, tries at some questions at every temperature of a grid; the best one is used.

    What counts is the balance score of B-STaR (arXiv 2412.17256): enough distinct right tries of a question,
    and few among the right ones that repeat each other.
    """

    temperatures: Annotated[tuple[Temperature, ...], Field(min_length=2, max_length=16)] = (
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

    @field_validator("temperatures")
    @classmethod
    def _ascending(cls, temperatures: tuple[float, ...]) -> tuple[float, ...]:
        if list(temperatures) != sorted(set(temperatures)):
            raise ValueError("temperatures ascend, and name each value once")
        return temperatures
