"""Prompts as STaR makes them."""

from __future__ import annotations

import random

from star_engine.protocols import SampleRequest


def few_shot_requests(count: int, prefixes: int = 3, length: int = 150) -> list[SampleRequest]:
    """Prompts of unlike lengths behind a few long prefixes, like those of a prompt set with groups."""
    source = random.Random(0)
    shown = ["".join(source.choices("0123456789 +=\nabc", k=length)) for _ in range(prefixes)]
    asked = ["".join(source.choices("0123456789", k=source.randint(3, 30))) for _ in range(count)]
    return [SampleRequest(str(n), f"{shown[n % prefixes]}{asked[n]}=") for n in range(count)]
