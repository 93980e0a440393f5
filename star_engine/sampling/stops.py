"""Which stop string ends a text: the same rule in every sampler."""

from __future__ import annotations

from collections.abc import Sequence


def first_stop(text: str, stops: Sequence[str]) -> tuple[int, str] | None:
    """Return where the stop that is complete first begins, and which one it is; the first listed on a tie.

    This is vLLM's rule. It does not depend on how the text was cut into tokens.
    """
    places = [(text.find(stop), stop) for stop in stops]
    found = [(at, stop) for at, stop in places if at >= 0]
    return min(found, key=lambda one: one[0] + len(one[1]), default=None)
