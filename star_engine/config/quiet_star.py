"""Settings of Quiet-STaR (Zelikman et al. 2024): thoughts between the tokens of ordinary text."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator, model_validator

from star_engine.config.lora import Lora
from star_engine.section import Section
from star_engine.tasks.kind import Kind

if TYPE_CHECKING:
    from star_engine.config.star import StarConfig


class OuterLoop(StrEnum):
    """The outer loops that a job can run."""

    STAR = "star"  # and all that it is with other settings
    QUIET_STAR = "quiet_star"  # its iterations are segments of one training


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

    @property
    def passes(self) -> int:
        """Forward passes over all positions of a window: its text, the thought, and what is predicted."""
        return 1 if self.thoughts is Thoughts.OFF else self.steps_of_thought + self.ahead_tokens + 2


class ThoughtStage(Section):
    """From this iteration on, think so: a curriculum of thought lengths (Fast Quiet-STaR)."""

    from_iteration: Annotated[int, Field(ge=1)]
    """First iteration of the stage."""
    thoughts: Thoughts | None = None
    """What is thought; null: as before."""
    thought_tokens: Annotated[int, Field(ge=1, le=64)] | None = None
    """Tokens of a thought; null: as before."""
    ahead_tokens: Annotated[int, Field(ge=1, le=16)] | None = None
    """True tokens that are predicted after each thought; null: as before."""
    steps: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Optimizer steps of each of its iterations; null: as before."""


class QuietStarMethod(QuietStar):
    """Quiet-STaR as the method of a job: iterations are segments, each from the adapter of the one before."""

    steps: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    """Optimizer steps of an iteration."""
    curriculum: tuple[ThoughtStage, ...] = ()
    """Stages that change what an iteration thinks; empty: every iteration thinks alike."""
    held_out_windows: Annotated[int, Field(ge=1, le=4096)] = 64
    """Windows of held-out documents that an iteration is measured on, at most."""
    shown_thoughts: Annotated[int, Field(ge=0, le=1000)] = 100
    """Thoughts that are kept to be read: half with the largest gains, half drawn evenly."""
    zero_shot_questions: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Questions at most of each dataset of evaluation.also, scored with and without thoughts."""

    @field_validator("curriculum")
    @classmethod
    def _ascending(cls, stages: tuple[ThoughtStage, ...]) -> tuple[ThoughtStage, ...]:
        begins = [stage.from_iteration for stage in stages]
        if begins != sorted(set(begins)):
            raise ValueError("each stage begins at a later from_iteration than the one before")
        return stages

    @model_validator(mode="after")
    def _consistent_stages(self) -> QuietStarMethod:
        for stage in self.curriculum:
            self.segment(stage.from_iteration)  # ValueError for what does not fit together
        return self

    def segment(self, iteration: int) -> QuietStar:
        """What an iteration thinks and how it is trained, its stage merged into the method's own settings."""
        own = {name: getattr(self, name) for name in QuietStar.model_fields}
        for stage in self.curriculum:
            if stage.from_iteration <= iteration:
                changed = stage.model_dump(exclude_none=True, exclude={"from_iteration", "steps"})
                own |= changed
        return QuietStar.model_validate(own)

    def steps_in(self, iteration: int) -> int:
        """Optimizer steps of an iteration."""
        steps = self.steps
        for stage in self.curriculum:
            if stage.from_iteration <= iteration and stage.steps is not None:
                steps = stage.steps
        return steps

    def windows_before(self, iteration: int) -> int:
        """Windows that the iterations before have read: an iteration goes on behind them."""
        return self.batch_windows * sum(self.steps_in(number) for number in range(1, iteration))


# Settings of jobs that ask questions. Evaluation stays: its split is the held-out documents' and its `also`
# the datasets of questions that are asked along.
_OF_QUESTIONS = (
    *("examples_per_iteration", "curriculum", "selection", "chat", "verifier", "labels", "generation"),
    *("controller", "rationalization", "tools", "hints", "training_set", "training", "audits"),
    *("preference", "self_distillation", "trained_verifier", "stop", "baselines_only"),
)


def check_quiet_star(config: StarConfig) -> None:
    """Raise ValueError for settings that do not go together with the method."""
    section = config.quiet_star
    if config.method is OuterLoop.STAR:
        if section is not None:
            raise ValueError("quiet_star settings need the method; set method to quiet_star")
        return
    if section is None:
        raise ValueError("method quiet_star needs its settings; use the preset quiet-star")
    if config.kind != Kind.DOCUMENTS:
        raise ValueError(f"method quiet_star reads documents, not questions of kind {config.kind}")
    fields = type(config).model_fields
    for name in _OF_QUESTIONS:
        if getattr(config, name) != fields[name].get_default(call_default_factory=True):
            raise ValueError(
                f"method quiet_star asks no questions and has settings of its own; leave out {name}"
            )
    if config.layout == "chat":
        raise ValueError("documents are read as they are; leave layout out")
    evaluation = config.evaluation
    if evaluation.test_time is not None or evaluation.max_examples is not None:
        raise ValueError(
            "how much is measured is quiet_star.held_out_windows and zero_shot_questions; leave test_time "
            "and max_examples out of evaluation"
        )
