"""What somebody who talks to a model asks of a sampler, beyond what the loop asks: its words as they come,
the probability of each token, prompts given as tokens, and conversations."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import TypeAdapter

from star_engine.protocols import Part, SamplingParams


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """One text to be written. `key` comes back with each piece of it.

    prompt: text, which the tokenizer may put its BOS before; tokens as they are; or a conversation: messages
    with `role` and `content`, which the model's chat template renders up to where it answers. logprobs: of
    each token, with so many of the likeliest ones at its place; None: of none. echo: the prompt is part of
    the text; only then may params.max_tokens be 0. stream: pieces as they come, not one when it is done.
    parts: what stands behind the prompt already, part by part: a text that was begun before. continued: the
    last piece brings `ids`, so that the text may be such a part.
    """

    key: str
    prompt: str | tuple[int, ...] | tuple[dict[str, Any], ...]
    params: SamplingParams = field(default_factory=SamplingParams)
    seed: int | None = None
    logprobs: int | None = None
    echo: bool = False
    stream: bool = False
    parts: tuple[Part, ...] = ()
    continued: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` makes the same request of, in another process."""
        request: dict[str, Any] = _REQUEST.dump_python(self, mode="json")
        return request

    @staticmethod
    def from_json(request: Mapping[str, Any]) -> WriteRequest:
        """Raises pydantic's ValidationError, a ValueError, for what `to_json` cannot have written."""
        return _REQUEST.validate_python(request)


_REQUEST = TypeAdapter(WriteRequest)


@dataclass(frozen=True, slots=True)
class TokenScore:
    """A token as text, the natural logarithm of its probability (None for the first of a text, which has
    none), and the likeliest tokens at its place with theirs, the likeliest first."""

    text: str
    logprob: float | None
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """The next part of a text. The last one has a finish_reason, or an `error` that says what is wrong.

    With the last one come, as in a Completion, `stopped_by` and, of a continued request, `ids`: its tokens
    with those of the stop string, where they are others than the tokenizer makes of it.
    """

    key: str
    text: str = ""
    scores: tuple[TokenScore, ...] = ()
    finish_reason: Literal["stop", "length"] | None = None
    prompt_tokens: int = 0  # with the last piece
    tokens: int = 0  # generated, with the last piece
    error: str | None = None
    stopped_by: str | None = None  # the stop string that ended it, which is no part of the text
    ids: tuple[int, ...] | None = None
    origin: Literal["model", "output"] = "model"  # output: what a tool said, put in by whoever serves it

    @property
    def ends(self) -> bool:
        return self.finish_reason is not None or self.error is not None


_PIECE = TypeAdapter(Piece)


def piece_from_json(piece: Mapping[str, Any]) -> Piece:
    """Raises pydantic's ValidationError, a ValueError."""
    return _PIECE.validate_python(piece)


class Writer(Protocol):
    """Holds one base model and at most one adapter."""

    def use(self, adapter: Path | None) -> None:
        """Write with the base model (None) or with this adapter from now on. Raises BadAdapter."""

    def write(self, queue: deque[WriteRequest], dropped: set[str]) -> Iterator[Piece]:
        """Yield the pieces of all texts until the queue is empty and nothing runs.

        The caller may append to the queue while it iterates, and put the keys of texts that nobody wants any
        more into `dropped`: no piece of them follows. A prompt that cannot be written on, such as a
        conversation for a model without a chat template, ends with an `error`.
        """
