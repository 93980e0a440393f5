"""How many optimizer steps an iteration takes: the schedules of a StarConfig, which names them all."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from star_engine.section import Section


class GeometricSchedule(Section):
    """start * factor^(n-1) optimizer steps in iteration n; 40 and 1.2 in the paper."""

    kind: Literal["geometric"] = "geometric"
    start: Annotated[int, Field(ge=1)] = 40
    factor: Annotated[float, Field(ge=1)] = 1.2
    max_steps: Annotated[int, Field(ge=1)] | None = None


class LinearSchedule(Section):
    """start + add * (n-1) optimizer steps; 300 and 20 for the paper's arithmetic."""

    kind: Literal["linear"] = "linear"
    start: Annotated[int, Field(ge=1)] = 300
    add: Annotated[int, Field(ge=0)] = 20
    max_steps: Annotated[int, Field(ge=1)] | None = None


class FixedSchedule(Section):
    """The same number of optimizer steps in every iteration."""

    kind: Literal["fixed"] = "fixed"
    steps: Annotated[int, Field(ge=1)] = 100


class EpochsSchedule(Section):
    """Optimizer steps that show the training set this often, rounded up: the released code's default."""

    kind: Literal["epochs"] = "epochs"
    epochs: Annotated[float, Field(gt=0, le=1000)] = 1.0
    max_steps: Annotated[int, Field(ge=1)] | None = None


Schedule = Annotated[
    GeometricSchedule | LinearSchedule | FixedSchedule | EpochsSchedule, Field(discriminator="kind")
]
