"""How many optimizer steps an iteration takes: the schedules of a StarConfig, which names them all."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from star_engine.section import Section


class GeometricSchedule(Section):
    """start * factor^(n-1) optimizer steps in iteration n; 40 and 1.2 in the paper."""

    kind: Literal["geometric"] = "geometric"
    """Name of the schedule."""
    start: Annotated[int, Field(ge=1)] = 40
    """Steps of iteration 1."""
    factor: Annotated[float, Field(ge=1)] = 1.2
    """Each iteration takes so many times the steps of the one before."""
    max_steps: Annotated[int, Field(ge=1)] | None = None
    """Steps of an iteration at most; null: no limit."""


class LinearSchedule(Section):
    """start + add * (n-1) optimizer steps; 300 and 20 for the paper's arithmetic."""

    kind: Literal["linear"] = "linear"
    """Name of the schedule."""
    start: Annotated[int, Field(ge=1)] = 300
    """Steps of iteration 1."""
    add: Annotated[int, Field(ge=0)] = 20
    """Steps that each iteration takes more than the one before."""
    max_steps: Annotated[int, Field(ge=1)] | None = None
    """Steps of an iteration at most; null: no limit."""


class FixedSchedule(Section):
    """The same number of optimizer steps in every iteration."""

    kind: Literal["fixed"] = "fixed"
    """Name of the schedule."""
    steps: Annotated[int, Field(ge=1)] = 100
    """Steps of every iteration."""


class EpochsSchedule(Section):
    """Optimizer steps that show the training set this often, rounded up: the released code's default."""

    kind: Literal["epochs"] = "epochs"
    """Name of the schedule."""
    epochs: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Passes over the training set of the first iteration."""
    add: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """How often the training set is shown."""
    max_steps: Annotated[int, Field(ge=1)] | None = None
    """Steps of an iteration at most; null: no limit."""


Schedule = Annotated[
    GeometricSchedule | LinearSchedule | FixedSchedule | EpochsSchedule, Field(discriminator="kind")
]
