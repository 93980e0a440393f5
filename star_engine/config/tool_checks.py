"""What does not go together with tools and procedural hints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from star_engine.config.training_set import Source

if TYPE_CHECKING:
    from star_engine.config.star import StarConfig


def check_tools(config: StarConfig) -> None:
    """Raises ValueError, with the fix, for settings that tools or hints would make wrong or useless."""
    if config.hints is not None:
        _check_hints(config)
    if config.tools.python is None:
        return
    given = config.training_set.source is not Source.RATIONALES
    pairs = config.trained_verifier is not None and config.trained_verifier.method == "dpo"
    for unfit, fix in (
        (given, "training_set.source must be rationales: nothing else is sampled"),
        (
            config.preference is not None,
            "preference must be null: both texts of a pair are learned whole, and a tool's words are in both",
        ),
        (
            config.self_distillation is not None,
            "self_distillation must be null: the teacher's words are learned of every token, a tool's too",
        ),
        (
            pairs,
            'trained_verifier.method must be "yes_no", which learns its judgement alone: "dpo" learns texts',
        ),
        (
            config.training_set.checks,
            "training_set.checks must be empty: they go on with a text, or ask again, without calling a tool",
        ),
        (config.audits.faithfulness > 0, "audits.faithfulness must be 0: it calls no tool"),
        (config.audits.sentences > 0, "audits.sentences must be 0: half a call of a tool is no text"),
    ):
        if unfit:
            raise ValueError(f"with tools.python, {fix}")


def _check_hints(config: StarConfig) -> None:
    if config.tools.python is None:
        raise ValueError("hints make a model call a tool; set tools.python to {}, or hints to null")
    if config.rationalization.enabled:
        raise ValueError(
            "one job hints with a procedure or with the answer; set rationalization.enabled to false, or "
            "hints to null"
        )
    if config.labels != "gold":
        raise ValueError("hints need a verdict by the gold answer; set labels to gold, or hints to null")
