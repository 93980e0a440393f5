"""Gradient checkpointing: layers keep their input only, and compute the rest again on the way back.

A third slower where all layers do, and where not even one row fits otherwise, the way to train it. Where some
suffice it is the first ones: the others have had their way back, and left their memory, before one of these
is computed again. transformers drops the keys and values of a shared prefix under it, so every row then
brings its own (batch_plan.plan_apart).
"""

from __future__ import annotations

from typing import Any

from transformers.modeling_layers import GradientCheckpointingLayer


def checkpointable(base: Any) -> int:
    """Return how many layers can be checkpointed: none where they have dropout of their own."""
    return 0 if getattr(base.config, "attention_dropout", 0) else len(_layers(base))


def checkpointed(base: Any) -> int:
    """Return how many layers are checkpointed."""
    return sum(layer.gradient_checkpointing and layer.training for layer in _layers(base))


def start_checkpointing(base: Any, count: int | None = None) -> bool:
    """Checkpoint the first `count` layers of transformers' own model; None: all. False: no more than before.

    The layers are set to training for it, which must change nothing else: none may have dropout of its own.
    """
    most = checkpointable(base)
    wanted = most if count is None else min(count, most)
    if wanted <= checkpointed(base):
        return False
    if not base.is_gradient_checkpointing:
        base.gradient_checkpointing_enable({"use_reentrant": False})
    for number, layer in enumerate(_layers(base)):
        layer.gradient_checkpointing = layer.training = number < wanted
    base.training = True  # what asks for a shared prefix looks at it
    return True


def stop_checkpointing(base: Any) -> None:
    """Leave the model as it was."""
    if base.is_gradient_checkpointing:
        base.gradient_checkpointing_disable()
        base.disable_input_require_grads()
        base.eval()


def _layers(base: Any) -> list[Any]:
    return [module for module in base.modules() if isinstance(module, GradientCheckpointingLayer)]
