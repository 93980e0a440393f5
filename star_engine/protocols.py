"""What the loop asks of a GPU: a Sampler (prompts to completions), which is a Scorer too (texts to their
probabilities), and a Trainer (training set to adapter)."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import TypeAdapter

from star_engine.config.star import Training
from star_engine.tasks.programs.tool_use import Turn


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a text that is tokens by itself: none reaches into the next part.

    ids: its tokens, where they are others than those that the tokenizer makes of it. As many are taken as
    spell a beginning of the text. plain: names of special tokens in it are text, as what a tool prints is: no
    tool ends a turn.
    """

    text: str
    ids: tuple[int, ...] | None = None
    plain: bool = False


def parts_of(text: str, turns: Sequence[Turn], foreign: Sequence[tuple[int, int]] = ()) -> tuple[Part, ...]:
    """A text in its parts, none of them empty; () where it has no turns. foreign: spans of plain parts."""
    if not turns:
        return ()
    begun = turns if turns[0][0] <= 0 else ((0, None), *turns)
    ends = [*(at for at, _ in begun[1:]), len(text)]
    found = (
        Part(
            text[max(at, 0) : end],
            ids if at >= 0 else None,
            any(start < end and at < stop for start, stop in foreign),
        )
        for (at, ids), end in zip(begun, ends, strict=True)
    )
    return tuple(part for part in found if part.text)


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """One prompt. `key` comes back with the completion; `seed` matters only when temperature > 0.

    regenerate: it must be generated, even where the same request has been answered before. max_tokens, stop:
    of this request alone; None: as the call's SamplingParams say. parts: with what the prompt ends, part by
    part: a text that was begun before. continued: whether the completion may be such a part.
    """

    key: str
    prompt: str
    seed: int | None = None
    regenerate: bool = False
    max_tokens: int | None = None
    stop: tuple[str, ...] | None = None
    parts: tuple[Part, ...] = ()
    continued: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` makes the same request of, in another process."""
        request: dict[str, Any] = _REQUEST.dump_python(self, mode="json", exclude_defaults=True)
        return request

    @staticmethod
    def from_json(request: Mapping[str, Any]) -> SampleRequest:
        """Raises pydantic's ValidationError, a ValueError, for what `to_json` cannot have written."""
        return _REQUEST.validate_python(request)


_REQUEST = TypeAdapter(SampleRequest)


@dataclass(frozen=True, slots=True)
class SamplingParams:
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0  # 0: all tokens
    max_tokens: int = 256
    stop: tuple[str, ...] = ()  # a sampler may end at the first of these; the caller cuts all the same
    special: bool = False  # whether special tokens stand in the text: a chat model's channels are such
    without_thoughts: bool = False  # an adapter that thinks between tokens (Quiet-STaR) does not

    def of(self, request: SampleRequest) -> SamplingParams:
        """Return what holds for one request of the call. Raises ValueError for a limit below 1."""
        if request.max_tokens is None and request.stop is None:
            return self
        if request.max_tokens is not None and request.max_tokens < 1:
            raise ValueError(
                f"Request {request.key} asks for at most {request.max_tokens} tokens: ask for 1 or more."
            )
        return replace(
            self,
            max_tokens=self.max_tokens if request.max_tokens is None else request.max_tokens,
            stop=self.stop if request.stop is None else request.stop,
        )


@dataclass(frozen=True, slots=True)
class Completion:
    """The text generated after the prompt, without EOS or the stop string that ended it.

    What ended it: "length": its token limit or the model's; "stop": the stop string `stopped_by`, or, where
    that is None, the end-of-sequence token. Of a `reused` one the record does not say which of these two.
    ids: of a `continued` request: the tokens of the text and of the stop string, where the tokenizer makes
    others of them (see Part). thoughts: of an adapter that thinks between tokens: each token of the text, and
    what was thought before it. cached_tokens: of the prompt, those that the sampler's prefix cache had; None:
    it does not say.
    """

    key: str
    text: str
    prompt_tokens: int
    tokens: int  # generated tokens
    finish_reason: Literal["stop", "length"]
    stopped_by: str | None = None
    request_sha256: str | None = (
        None  # set where answers are looked up: star_engine/sampling/completion_cache.py
    )
    reused: bool = False
    ids: tuple[int, ...] | None = None
    thoughts: tuple[tuple[str, str], ...] = ()
    cached_tokens: int | None = field(default=None, compare=False)  # differs from one ask to the next


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a completion. `learned` is False for text that the model reads but did not write itself."""

    text: str
    learned: bool = True


@dataclass(frozen=True, slots=True)
class TrainingText:
    """One training example as text. Its last token is appended by the trainer; `Training.loss` says where
    loss falls. `end`: that token, one at which the model stops; None: the tokenizer's EOS.

    `masked`: spans [start, end) of the completion's characters, in order, on which it never falls: text of a
    tool, or a hint. A token is learned only if all of it is outside of them. `turns`: where the completion is
    cut into parts; a part that reaches into a masked span is masked.
    """

    prompt: str
    completion: str
    masked: tuple[tuple[int, int], ...] = ()
    end: str | None = None
    turns: tuple[Turn, ...] = ()

    @property
    def parts(self) -> tuple[Part, ...]:
        return parts_of(self.completion, self.turns, self.masked)

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` makes the same text of, in another process."""
        text: dict[str, Any] = _TRAINING_TEXT.dump_python(self, mode="json", exclude_defaults=True)
        return text

    @staticmethod
    def from_json(text: Mapping[str, Any]) -> TrainingText:
        """Raises pydantic's ValidationError, a ValueError, for what `to_json` cannot have written."""
        return _TRAINING_TEXT.validate_python(text)

    def __post_init__(self) -> None:
        """Raises ValueError for spans that overlap, are empty or reach beyond the completion."""
        before = 0
        for start, end in self.masked:
            if not before <= start < end <= len(self.completion):
                raise ValueError(
                    f"The masked span [{start}, {end}) of a completion of {len(self.completion)} characters "
                    "is empty, out of order or out of range: give non-overlapping spans in their order."
                )
            before = end

    @staticmethod
    def of_segments(prompt: str, segments: Iterable[Segment]) -> TrainingText:
        """Return the example whose completion is the segments one after another."""
        completion, masked = "", list[tuple[int, int]]()
        for segment in segments:
            start, completion = len(completion), completion + segment.text
            if segment.text and not segment.learned:
                masked.append((start, len(completion)))
        return TrainingText(prompt, completion, tuple(masked))


_TRAINING_TEXT = TypeAdapter(TrainingText)


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """A text whose probability is asked for. `key` comes back with the score.

    Its tokens are those of the trainer, so that a score is what a training on the text begins with. `eos`:
    whether the end of the text, as the trainer appends it, is part of it.
    """

    key: str
    text: TrainingText
    eos: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` makes the same request of, in another process."""
        request: dict[str, Any] = _SCORE_REQUEST.dump_python(self, mode="json", exclude_defaults=True)
        return request

    @staticmethod
    def from_json(request: Mapping[str, Any]) -> ScoreRequest:
        """Raises pydantic's ValidationError, a ValueError, for what `to_json` cannot have written."""
        return _SCORE_REQUEST.validate_python(request)


_SCORE_REQUEST = TypeAdapter(ScoreRequest)


@dataclass(frozen=True, slots=True)
class Score:
    """Natural logarithms of the probability of each token of a completion, in order, masked ones left out."""

    key: str
    logprobs: tuple[float, ...]

    @property
    def total(self) -> float:
        """The logarithm of the completion's probability after the prompt."""
        return math.fsum(self.logprobs)


class TextScorer(Protocol):
    """Says how likely a model finds texts."""

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[Score]:
        """Yield how likely each completion is after its prompt, as scores finish, in any order.

        Raises ValueError, naming the key, for a text that the model has no room for or that has no token to
        be scored.
        """


class Scorer(TextScorer, Protocol):
    """Holds one base model and at most one adapter."""

    def use(self, adapter: Path | None) -> None:
        """Ask the base model (None) or the base model with this adapter from now on."""


class Sampler(Scorer, Protocol):
    """A Scorer that writes texts as well."""

    def stream(self, queue: deque[SampleRequest], params: SamplingParams) -> Iterator[Completion]:
        """Yield completions as they finish, in any order, until the queue is empty and nothing runs.

        The caller may append to the queue while it iterates: such requests join the running batch. That is
        how a failed example goes into rationalization without a barrier.
        """

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Length of each text in tokens of the base model."""

    def token_ids(self, texts: Sequence[str | TrainingText]) -> list[list[int]]:
        """Tokens of each text as the sampler continues it: with BOS where the tokenizer adds one, no EOS."""

    def close(self) -> None:
        """Free the model."""


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """Two completions of one prompt, the first to be preferred: text of a job that learns preferences.

    reference_chosen, reference_rejected: the logarithm of each one's probability under the reference model,
    as `Score.total` says it. They are computed once and recorded, so that the training holds one model only.
    """

    chosen: TrainingText
    rejected: TrainingText
    reference_chosen: float
    reference_rejected: float
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Preference:
    """How pairs are learned. beta: of DPO. nll: weight of the chosen text's own negative log-likelihood per
    token, as in iterative RPO; 0: DPO alone.
    """

    beta: float = 0.1
    nll: float = 0.0


@dataclass(frozen=True, slots=True)
class DistilledText:
    """A text that the model has written behind a prompt, and the prompt behind which its teacher reads it.

    Both have the same completion; the teacher's prompt shows the answer, the student's does not.
    """

    student: TrainingText
    teacher: TrainingText


@dataclass(frozen=True, slots=True)
class Distillation:
    """How the student's distribution of each next token is drawn to its teacher's, the base model's.

    beta: 0 is KL(teacher || student), 1 is KL(student || teacher), between them the generalised
    Jensen-Shannon divergence. temperature: of both distributions. top_k: tokens of the teacher that are told
    apart, all others together as one; 0: all. clip: in nats, what one token can add at most; None: no limit.
    """

    beta: float = 0.5
    temperature: float = 1.0
    top_k: int = 0
    clip: float | None = None


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """One training: what to learn, how, and where to write.

    The type of `data` says which loss is minimised: texts are learned by cross-entropy, pairs by DPO, tries
    with a teacher by the divergence of the two. A batch of pairs has `settings.batch_size` of them, or as
    many as `settings.batch_tokens` holds with both texts; so has one of tries with a teacher.
    """

    data: tuple[TrainingText, ...] | tuple[PreferencePair, ...] | tuple[DistilledText, ...]
    settings: Training
    steps: int  # optimizer steps
    seed: int
    out: Path  # folder that holds the adapter afterwards
    checkpoints: Path  # folder of resume points
    start: Path | None = None  # adapter to go on from; None: fresh weights on the base model
    moments: Path | None = None  # optimizer state to go on with, of the training that made `start`
    preference: Preference | None = None  # of pairs
    distillation: Distillation | None = None  # of tries with a teacher

    def __post_init__(self) -> None:
        """Raises ValueError where pairs come without their loss, texts with that of pairs, or moments without
        the weights that they are of.
        """
        if self.moments is not None and self.start is None:
            raise ValueError("Moments are of the adapter that a training goes on from: give `start` as well.")
        taught = any(isinstance(one, DistilledText) for one in self.data)
        if taught != (self.distillation is not None):
            raise ValueError("Tries with a teacher are learned with `distillation`: give both or neither.")
        pairs = any(isinstance(one, PreferencePair) for one in self.data)
        if pairs != (self.preference is not None):
            raise ValueError("Pairs are learned with `preference`, texts without it: give both or neither.")

    @property
    def texts(self) -> tuple[TrainingText, ...]:
        """All texts, in order; of a pair the chosen one first, of a try with a teacher the student's."""
        found: list[TrainingText] = []
        for one in self.data:
            if isinstance(one, PreferencePair):
                found += [one.chosen, one.rejected]
            else:
                found.append(one.student if isinstance(one, DistilledText) else one)
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` makes the same job of, in another process."""
        job: dict[str, Any] = _TRAINING_JOB.dump_python(self, mode="json")
        return job

    @staticmethod
    def from_json(job: Mapping[str, Any]) -> TrainingJob:
        """Raises pydantic's ValidationError, a ValueError, for what `to_json` cannot have written."""
        return _TRAINING_JOB.validate_python(job)


_TRAINING_JOB = TypeAdapter(TrainingJob)


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    step: int  # optimizer steps done
    steps: int
    loss: float  # mean over the tokens of this step's batch that loss falls on
    tokens: int  # tokens seen since step 0, padding not counted
    grad_norm: float  # of all trained weights together, before it is clipped
    learning_rate: float  # of this step
    too_long: int = 0  # rows that were left out, since they have more tokens than training.max_length
    margin: float | None = None  # of pairs: mean over the batch, in nats; before the step
    pair_accuracy: float | None = None  # of pairs: share of the batch with a margin above zero
    tokens_at_once: int | None = None  # that run through the model at most: less where memory is short
    checkpointed_layers: int = 0  # that are computed twice, since their activations did not fit
    ranks: int = 1  # processes that share every batch
    sampler_share: float | None = None  # of the GPU, for vLLM beside the trainer; None: they take turns
    sharded: bool = False  # whether each of them holds a piece of the base model, which none holds whole


@dataclass(frozen=True, slots=True)
class AdapterProbe:
    """What PEFT sees when it loads an adapter on the base model."""

    texts: tuple[str, ...]  # greedy completions of the probe prompts with the adapter
    base_texts: tuple[str, ...]  # the same without it
    finite: bool  # no NaN or infinity in any weight
    weight_norm: float  # Frobenius norm of the full update, summed over layers; 0 means it changes nothing
    max_logit_delta: float  # largest change of a next-token logit at the end of a probe prompt


class Trainer(Protocol):
    def train(self, job: TrainingJob) -> Iterator[TrainingProgress]:
        """Train a LoRA adapter and yield once per optimizer step.

        When the iterator ends, `job.out` holds `adapter_config.json` and `adapter_model.safetensors`, and
        `optimizer.safetensors` where `job.settings.optimizer` is carry. The optimizer is fresh unless
        `job.moments` is given. Resumes from the newest valid checkpoint in `job.checkpoints`, if there is one
        for the same input.
        """

    def training_token_ids(self, texts: Sequence[str | TrainingText]) -> list[list[int]]:
        """Tokens of each text as the trainer reads it, without the EOS that it appends."""

    def score_trained(self, adapter: Path | None, requests: Sequence[ScoreRequest]) -> list[Score]:
        """How likely PEFT finds each completion with this adapter, in the order of the requests.

        None: the base model alone, as it is trained on. What a sampler's scores are compared with, of a few
        texts: they run one by one. BadAdapter if it does not load.
        """

    def probe(self, adapter: Path, prompts: Sequence[str], max_tokens: int) -> AdapterProbe:
        """Load an adapter with PEFT and continue each prompt greedily. BadAdapter if it does not load."""


class BadAdapter(ValueError):
    """An adapter that must not be published; the message says why."""


class OutOfMemory(RuntimeError):
    """The device could not hold the batch: halve it and try again."""


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether this error, or what it was raised from, says that a device or machine has no memory left.

    torch.AcceleratorError and RuntimeError say so in words where cuBLAS or the driver could not allocate;
    vLLM's engine is another process, whose error arrives as text.
    """
    words = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "OutOfMemoryError", "cudaErrorMemoryAllocation")
    while error is not None:
        told = isinstance(error, RuntimeError) and any(word in str(error) for word in words)
        if told or isinstance(error, OutOfMemory | MemoryError) or type(error).__name__ == "OutOfMemoryError":
            return True
        error = error.__cause__ or error.__context__
    return False
