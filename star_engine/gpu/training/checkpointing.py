"""Gradient checkpointing: layers keep their input only, and compute the rest again on the way back.

A third slower, and where not even one row fits otherwise, the way to train it. transformers drops the keys
and values of a shared prefix under it, so every row then brings its own (batch_plan.plan_apart).
"""

from __future__ import annotations

from typing import Any

from transformers.modeling_layers import GradientCheckpointingLayer


def can_checkpoint(base: Any) -> bool:
    """Whether it has layers to checkpoint, without dropout of their own."""
    return bool(_layers(base)) and not getattr(base.config, "attention_dropout", 0)


def start_checkpointing(base: Any) -> bool:
    """Checkpoint every layer of transformers' own model. False: it does already, or cannot.

    The layers are set to training for it, which must change nothing else: none may have dropout of its own.
    """
    if base.is_gradient_checkpointing or not can_checkpoint(base):
        return False
    base.gradient_checkpointing_enable({"use_reentrant": False})
    for layer in _layers(base):
        layer.training = True
    base.training = True  # what asks for a shared prefix looks at it
    return True


def stop_checkpointing(base: Any) -> None:
    """Leave the model as it was."""
    if base.is_gradient_checkpointing:
        base.gradient_checkpointing_disable()
        base.eval()


def _layers(base: Any) -> list[Any]:
    return [module for module in base.modules() if isinstance(module, GradientCheckpointingLayer)]
