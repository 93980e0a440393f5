"""Learning from a teacher that sees the answer: a part of StarConfig."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from star_engine.config.training_set import Source
from star_engine.section import Section

if TYPE_CHECKING:
    from star_engine.config.star import StarConfig


class SelfDistillation(Section):
    """The base model, with the answer in view, teaches the model its own tries token by token (OPSD).

    Every try is learned, right or wrong (arXiv 2601.18734). The teacher is the model without the adapter.
    """

    hint: Literal["right", "wrong", "none"] = "right"
    """What the teacher sees: the gold answer, another question's answer (a control), or nothing (loss 0)."""
    beta: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Divergence: 0 is KL from teacher to student, 1 the reverse, between them Jensen-Shannon."""
    temperature: Annotated[float, Field(gt=0, le=10)] = 1.0
    """Temperature of both distributions in the loss."""
    top_k: Annotated[int, Field(ge=0, le=4096)] = 0
    """Tokens of the teacher that are told apart, all others as one; 0: the whole vocabulary."""
    clip: Annotated[float, Field(gt=0)] | None = None
    """Nats that one token can add at most, so that words of style do not prevail; null: no limit."""


def check_distillation(config: StarConfig) -> None:
    """Raises ValueError for settings that leave a teacher nothing to teach, or show it too much."""
    if config.self_distillation is None:
        return
    for unfit, fix in (
        (config.preference is not None, "set preference to null: there is one loss"),
        (config.training_set.source is not Source.RATIONALES, "set training_set.source to rationales"),
        (str(config.labels) != "gold", "set labels to gold: the teacher is shown the answer"),
        (
            config.training_set.window != 1,
            "set training_set.window to 1: new tries alone are learned",
        ),
        (bool(config.training_set.mix), "leave training_set.mix empty"),
        (config.training.loss != "completion", "set training.loss to completion"),
    ):
        if unfit:
            raise ValueError(f"self_distillation learns the newest tries from a teacher; {fix}")
