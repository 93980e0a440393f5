"""What Quiet-STaR asks of a GPU, and what it answers: a training on documents, the worth of thoughts."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import TypeAdapter

from star_engine.config.quiet_star import QuietStar
from star_engine.protocols import Completion, SampleRequest, SamplingParams


@dataclass(frozen=True, slots=True)
class ThoughtTraining:
    """One segment of a training. It crosses processes as JSON."""

    documents: Path  # JSONL with `text`, in the order in which they are read
    settings: QuietStar
    steps: int
    seed: int
    out: Path
    checkpoints: Path
    start: Path | None = None  # the adapter that it goes on from; None: a fresh one
    skip: int = 0  # windows that earlier segments have read

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` makes the same training of, in another process."""
        training: dict[str, Any] = _TRAINING.dump_python(self, mode="json")
        return training

    @staticmethod
    def from_json(training: dict[str, Any]) -> ThoughtTraining:
        """Raises pydantic's ValidationError, a ValueError, for what `to_json` cannot have written."""
        return _TRAINING.validate_python(training)


_TRAINING = TypeAdapter(ThoughtTraining)


@dataclass(frozen=True, slots=True)
class QuietStep:
    """One optimizer step. Losses are means of a token, in nats, before the step."""

    step: int
    steps: int
    nll_without: float
    nll_mixed: tuple[float, ...]  # by tokens ahead; empty without thoughts
    weight: float  # of the thoughts, 0 to 1, the mean
    positive: float  # share of thoughts that did better than the mean of their position
    policy: float  # mean REINFORCE loss of a thought
    entropy: float  # of the thoughts' tokens, in nats
    grad_norm: float  # before it was clipped
    start_norm: float  # how far the embedding of the start has moved
    end_norm: float
    loss: float = 0.0  # the sum that was minimized
    tokens: int = 0  # of the windows read in this step
    checkpointed: bool = False  # whether passes are computed twice, since their activations did not fit


@dataclass(frozen=True, slots=True)
class Thought:
    """A thought before a token, and what it was worth there."""

    before: str  # the text up to there, its end
    thought: str
    token: str  # that follows
    gain: float  # in nats: how much likelier the token became
    nll: float = 0.0  # of the token without the thought, in nats
    drawn: bool = False  # whether it was drawn evenly; else it is one of those with the largest gains


@dataclass(frozen=True, slots=True)
class Worth:
    """Means of a token in nats; `tokens`: what they are means of, for one token ahead."""

    tokens: int
    without: tuple[float, ...]  # negative log-likelihood by tokens ahead
    mixed: tuple[float, ...]  # the same with thoughts; equal where there are none
    gain_by_difficulty: tuple[float, ...]  # of the next token, from the easiest fifth to the hardest
    thoughts: tuple[Thought, ...]
    without_by_difficulty: tuple[float, ...] = ()  # of the same fifths, without thoughts
    base: float | None = None  # the next token by the base model; None: not asked
    windows: int = 0
    weight: float = 0.0  # of the thoughts, 0 to 1, the mean

    @property
    def gain(self) -> float:
        """How much likelier the next token is with a thought, in nats."""
        return self.without[0] - self.mixed[0]


_WORTH = TypeAdapter(Worth)


def worth_from_json(worth: dict[str, Any]) -> Worth:
    """What `dataclasses.asdict` has made of a Worth, in another process. Raises ValueError."""
    return _WORTH.validate_python(worth)


@dataclass(frozen=True, slots=True)
class ThoughtProbe:
    """What was seen when an adapter was loaded for thinking."""

    finite: bool  # no NaN or infinity in LoRA matrices, head or soft tokens
    weight_norm: float  # of the LoRA matrices
    max_logit_delta: float  # largest change of a plain next-token logit against the base model
    parallel_difference: float  # largest difference of thinking at all positions at once and one by one
    start_norm: float
    end_norm: float


@dataclass(frozen=True, slots=True)
class AskedQuestion:
    """A question as a model is asked it without examples, and answers whose likelihood is wanted."""

    key: str
    prompt: str
    answers: tuple[str, ...]  # the gold answer alone, or every choice
    gold: int  # which of them


@dataclass(frozen=True, slots=True)
class ScoredQuestion:
    """Log-probabilities of each answer, without and with thoughts; () where the model has no room for it."""

    key: str
    without: tuple[float, ...]
    mixed: tuple[float, ...]


class ThoughtModel(Protocol):
    """One base model that may be trained to think, and any adapter of it that does."""

    def train_thoughts(self, training: ThoughtTraining) -> Iterator[QuietStep]:
        """Train a segment and yield once per optimizer step; its files are in `training.out` at the end.

        Resumes from the newest valid checkpoint of the same input. Raises ValueError for documents that fill
        no window, for windows that the model's context or the device's memory has no room for, and BadAdapter
        for a start that cannot be loaded.
        """

    def probe_thoughts(self, adapter: Path, texts: Sequence[str]) -> ThoughtProbe:
        """Load an adapter and think about the beginnings of texts. BadAdapter if it does not load."""

    def measure_thoughts(
        self,
        adapter: Path,
        documents: Path,
        *,
        windows: int,
        shown: int,
        seed: int,
    ) -> Iterator[tuple[int, int] | Worth]:
        """What thoughts are worth on the first so many windows of held-out documents.

        Yields how many windows are done, of how many, and at last what was found. Raises ValueError where
        they fill no window.
        """

    def score_with_thoughts(
        self, adapter: Path, questions: Sequence[AskedQuestion], *, seed: int
    ) -> Iterator[ScoredQuestion]:
        """How likely each answer is after its prompt, in the order of the questions."""

    def write_with_thoughts(
        self, adapter: Path, queue: deque[SampleRequest], params: SamplingParams
    ) -> Iterator[Completion]:
        """Answer greedily, as Sampler.stream does, thinking before each token unless the call's
        `without_thoughts` says not to. What is appended to the queue meanwhile is answered too. Raises
        ValueError for a prompt that leaves no room for a token and its thought.
        """
