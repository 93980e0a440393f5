"""Settings of Quiet-STaR (Zelikman et al. 2024): thoughts between the tokens of ordinary text."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, model_validator

from star_engine.config.star import Lora
from star_engine.section import Section


class Thoughts(StrEnum):
    """What stands between the start and the end of a thought: the method, and its controls."""

    SAMPLED = "sampled"  # by the model: Quiet-STaR
    RANDOM = "random"  # drawn evenly from the vocabulary: does it matter what is thought?
    PAUSE = "pause"  # nothing, start and end alone: do two more tokens of computation do it?
    OFF = "off"  # no thought at all: continued training on the same tokens


class QuietStar(Section):
    """One run of Quiet-STaR. Defaults are those of the released code (ezelikman/quiet-star 892446b)."""

    thoughts: Thoughts = Thoughts.SAMPLED
    """What is thought: `sampled` is the method, the others are its controls."""
    window: Annotated[int, Field(ge=8, le=4096)] = 256
    """Tokens of a document that are read at once."""
    thought_tokens: Annotated[int, Field(ge=1, le=64)] = 12
    """Tokens of a thought, between its start and its end."""
    ahead_tokens: Annotated[int, Field(ge=1, le=16)] = 4
    """True tokens that are predicted after each thought."""
    rationales: Annotated[int, Field(ge=1, le=16)] = 2
    """Thoughts at each position; the reward of one is compared with their mean."""
    temperature: Annotated[float, Field(ge=0, le=10)] = 1.0
    """Temperature at which thoughts are sampled; 0: the most likely token."""
    mix: Literal["logits", "hidden"] = "logits"
    """What the mixing head interpolates: logits, as the paper says, or hidden states, as the code does."""
    initial_weight: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the prediction after the thought before anything is learned."""
    base_loss: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of the loss without thoughts; the rest is the loss with them."""
    policy_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of REINFORCE on the thought's tokens. The code's 1e6 multiplies a mean of tiny numbers."""
    embedding_scale: Annotated[float, Field(gt=0)] = 100.0
    """How much faster the embeddings of start and end learn."""
    batch_windows: Annotated[int, Field(ge=1, le=4096)] = 8
    """Windows per optimizer step."""
    micro_batch: Annotated[int, Field(ge=1, le=4096)] = 8
    """Windows that run through the model at once; each counts `rationales` times."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-4
    """Peak learning rate of AdamW."""
    warmup_steps: Annotated[int, Field(ge=0)] = 20
    """Steps over which the learning rate rises linearly; it is constant afterwards."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.001
    """Weight decay of AdamW."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """Gradients are scaled down to this norm."""
    checkpoint_every: Annotated[int, Field(ge=1)] = 50
    """Optimizer steps between two checkpoints."""
    lora: Lora = Lora()
    """Shape of the adapter."""

    @model_validator(mode="after")
    def _consistent(self) -> QuietStar:
        if self.ahead_tokens >= self.window:
            raise ValueError("ahead_tokens: a window must be longer than what is predicted after a thought")
        if self.thoughts is Thoughts.SAMPLED and self.policy_weight and self.rationales < 2:
            raise ValueError("rationales: one thought is as good as the mean of one; give 2 or more")
        return self

    @property
    def steps_of_thought(self) -> int:
        """Tokens between start and end."""
        return 0 if self.thoughts in (Thoughts.PAUSE, Thoughts.OFF) else self.thought_tokens

    @property
    def longest(self) -> int:
        """Positions that a window with its thoughts takes of the model's context."""
        return self.window + self.steps_of_thought + self.ahead_tokens + 1
