"""A few capitals: questions of the kinds exact, math and pattern, and a pupil who knows half of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from star_engine.config.star import StarConfig
from star_engine.protocols import SampleRequest
from star_engine.tasks.examples import Example, FewShotExample, PromptSet
from star_engine.tasks.kind import Kind
from star_engine.testing.fakes import Script

CAPITALS = {
    "France": "Paris",
    "Norway": "Oslo",
    "Japan": "Tokyo",
    "Kenya": "Nairobi",
    "Peru": "Lima",
    "Cuba": "Havana",
}
KNOWN = ("France", "Norway", "Cuba")  # to the base model; the others it calls Atlantis
PATTERN = r"Final answer: (\w+)"
ENDS = {
    Kind.EXACT: "The answer is {}.",
    Kind.MATH: r"So it is \boxed{{{}}}.",
    Kind.PATTERN: "Final answer: {}",
}


def asks_for(country: str) -> str:
    return f"What is the capital of {country}?"


def reasons(country: str, city: str, kind: Kind) -> str:
    return f"{country} is governed from its largest town. " + ENDS[kind].format(city)


def examples(**changes: Any) -> list[Example]:
    return [Example(country, asks_for(country), city, **changes) for country, city in CAPITALS.items()]


def few_shot(kind: Kind) -> PromptSet:
    shown = FewShotExample(asks_for("Chile"), reasons("Chile", "Santiago", kind), "Santiago")
    return PromptSet(kind, (shown,))


def config(kind: Kind, **settings: Any) -> StarConfig:
    defaults: dict[str, Any] = {
        "kind": kind,
        "iterations": 1,
        "audits": {"spark_level": None},  # six capitals cannot tell knowing from guessing
        "training": {"schedule": {"kind": "fixed", "steps": 2}, "lora": {"rank": 2}},
    }
    if kind is Kind.PATTERN:
        defaults["verifier"] = {"pattern": PATTERN}
    return StarConfig.model_validate(defaults | settings)


def pupil(kind: Kind) -> Script:
    """Right where it knows the capital, has learned it or is shown it."""

    def answer(request: SampleRequest, adapter: Path | None) -> str:
        asked = request.prompt.rsplit("Q: ", 1)[1]
        country = next(name for name in CAPITALS if name in asked)
        knows = adapter is not None or country in KNOWN or CAPITALS[country] in asked
        return " " + reasons(country, CAPITALS[country] if knows else "Atlantis", kind)

    return answer
