"""Prompts as STaR makes them."""

from __future__ import annotations

import random

from star_engine.protocols import SampleRequest, ScoreRequest, Segment, TrainingText


def few_shot_requests(count: int, prefixes: int = 3, length: int = 150) -> list[SampleRequest]:
    """Prompts of unlike lengths behind a few long prefixes, like those of a prompt set with groups."""
    source = random.Random(0)
    shown = ["".join(source.choices("0123456789 +=\nabc", k=length)) for _ in range(prefixes)]
    asked = ["".join(source.choices("0123456789", k=source.randint(3, 30))) for _ in range(count)]
    return [SampleRequest(str(n), f"{shown[n % prefixes]}{asked[n]}=") for n in range(count)]


def texts_to_score(count: int) -> list[ScoreRequest]:
    """Completions of unlike length behind prompts that begin alike; some masked in part, some without EOS."""
    source = random.Random(1)
    requests = []
    for number, asked in enumerate(few_shot_requests(count)):
        pieces = ["".join(source.choices("0123456789 +=abc", k=source.randint(1, 25))) for _ in range(3)]
        segments = [Segment(piece, learned=at != number % 4) for at, piece in enumerate(pieces)]
        text = TrainingText.of_segments(asked.prompt, segments)
        requests.append(ScoreRequest(asked.key, text, eos=number % 3 > 0))
    return requests
