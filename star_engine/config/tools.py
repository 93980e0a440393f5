"""Tools that a model may call while it reasons, and procedural hints that make it call them (START)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from star_engine.section import Section


class PythonTool(Section):
    """The model writes a fenced block of Python; it is executed, and its output stands behind it."""

    runtime: Literal["embedded", "cpython"] = "embedded"
    """embedded: an interpreter of a subset of Python, for calculations; cpython: Python in the sandbox."""
    max_calls: Annotated[int, Field(ge=1, le=32)] = 4
    """Calls in one text at most; a text that asks for another one ends there, cut off."""
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    """CPU seconds of one call at most."""
    memory_mb: Annotated[int, Field(ge=16, le=4096)] = 256
    """Memory of one call at most."""
    output_chars: Annotated[int, Field(ge=20, le=20000)] = 1000
    """Characters of an output that the model reads; of a longer one its head and its tail."""


class Tools(Section):
    """What a model may call while it reasons."""

    python: PythonTool | None = None
    """Python, from fenced blocks; null: none."""


class HintGroup(StrEnum):
    """The groups of star_engine/sampling/hint_library.py."""

    GENERAL = "general"
    CALCULATION = "calculation"
    CHECK = "check"
    ALTERNATIVE = "alternative"
    DEBUG = "debug"


class Hints(Section):
    """Sentences that are put into a text to make its model call a tool (Hint-RFT); no answer is in them."""

    groups: Annotated[tuple[HintGroup, ...], Field(max_length=5)] = (
        HintGroup.GENERAL,
        HintGroup.CALCULATION,
        HintGroup.CHECK,
    )
    """Groups of the library from which each text's hint is drawn."""
    texts: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=500)], ...], Field(max_length=32)
    ] = ()
    """Hints of your own, drawn as well; behind one that ends with an opened fence the model writes code."""
    insert: Literal["start", "before_end", "after_words"] = "before_end"
    """Where: at the start, before the text states its answer, or where it first says one of `words`."""
    words: Annotated[
        tuple[Annotated[str, Field(min_length=2, max_length=40)], ...], Field(min_length=1, max_length=16)
    ] = ("Wait", "Alternatively")
    """Of after_words: one of them is drawn for a text; a text without it has its hint before its end."""
    iterations: Annotated[int, Field(ge=1)] = 1
    """The first so many iterations are hinted; those after them sample without hints."""
    tries: Annotated[int, Field(ge=1, le=64)] = 1
    """Hinted tries of a question whose unhinted tries were all wrong, each with a hint drawn for it."""
    masked: bool = True
    """Whether loss leaves out the hint; false: the model learns to say it itself."""

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.groups and not self.texts:
            raise ValueError("there is no hint to draw; name groups of the library or give texts")
        return self
