"""The shape of an adapter."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from star_engine.section import Section

MAX_LORA_RANK = 64  # that a sampler of the service makes room for; as a library any rank up to 512 can be had


class Lora(Section):
    rank: Annotated[int, Field(ge=1, le=512)] = 16
    """Rank of the LoRA matrices."""
    alpha: Annotated[int, Field(ge=1)] = 32
    """Scale of the LoRA update: it is multiplied by alpha / rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout on the input of the LoRA matrices while training."""
    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    """Which linear layers get LoRA matrices: all of them, or those with these names."""
