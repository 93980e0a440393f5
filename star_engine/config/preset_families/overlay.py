"""Settings merged into others: what a person changes of a preset, and a baseline for a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def laid_over(settings: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Merge settings into others, at every depth.

    A section of another kind (a linear schedule over a geometric one) replaces the section whole. A
    batch_size by itself ends the counting in tokens.
    """
    merged = dict(settings)
    if "batch_size" in overrides and "batch_tokens" in settings:
        merged["batch_tokens"] = None
    for name, above in overrides.items():
        below = merged.get(name)
        if isinstance(below, Mapping) and isinstance(above, Mapping) and _same_kind(below, above):
            merged[name] = laid_over(below, above)
        else:
            merged[name] = above
    return merged


def changes(usual: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of `other` that differ from the defaults; a section of another kind
    counts as a whole.
    """
    found: dict[str, Any] = {}
    for name, value in other.items():
        before = usual.get(name)
        if isinstance(value, Mapping) and isinstance(before, Mapping) and _same_kind(before, value):
            if inner := changes(before, value):
                found[name] = inner
        elif value != before:
            found[name] = value
    return found


def _same_kind(below: Mapping[str, Any], above: Mapping[str, Any]) -> bool:
    return bool(above.get("kind", below.get("kind")) == below.get("kind"))
