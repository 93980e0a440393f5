"""How prompts are laid out for a model that was trained on conversations: a part of StarConfig."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from star_engine.section import Section

PromptLayout = Literal["completion", "chat"]
Switch = Literal["on", "off"]


class Chat(Section):
    """The chat layout: what stands around the question in the model's own chat template."""

    system: Annotated[str, Field(min_length=1, max_length=20_000)] | None = None
    """System prompt; where the template knows no system role, it begins the first user turn. Null: none."""
    thinking: Switch | None = None
    """Whether the model is to think before it answers: the template's own switch. Null: its default."""
    few_shot: Literal["turns", "block"] = "turns"
    """Few-shot examples as user and assistant turns, or all of them in one block before the question."""
    train_thinking: Literal["keep", "drop"] = "keep"
    """Whether rows hold the thinking that was sampled, or begin where it ends. Never rewritten."""
    date: dt.date | None = None
    """The day that templates print which print one; null: the day on which the job is created."""
    template_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """SHA-256 of the template that the job uses, recorded when it is created; another one is refused."""

    @field_validator("thinking", mode="before")
    @classmethod
    def _not_a_boolean(cls, value: Any) -> Any:
        """YAML reads on and off as true and false."""
        return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value
