"""A scripted model that is right by chance, so that tries of a question differ, and a judge of texts."""

from __future__ import annotations

from pathlib import Path

from star_engine.data.selection import chance
from star_engine.evaluation.yes_no import NO, QUESTION, YES
from star_engine.protocols import SampleRequest
from star_engine.testing.addition import Script, addition_pupil

NOBODY: frozenset[int] = frozenset()
EVERYBODY = frozenset(range(10))
SCRIPT = "tests.wavering:wavering"


def wavering(right: float = 0.7) -> Script:
    """Right on this share of seeds; asked whether a text is right, it says yes to most of them."""
    able, unable = addition_pupil(EVERYBODY), addition_pupil(NOBODY)

    def answer(request: SampleRequest, adapter: Path | None) -> str:
        if request.prompt.endswith(QUESTION):
            return YES if chance(0, 0, "judge", request.prompt) < 0.7 else NO
        drawn = chance(0, 0, "able", f"{request.seed}/{request.prompt}")
        return (able if drawn < right else unable)(request, None)

    return answer
