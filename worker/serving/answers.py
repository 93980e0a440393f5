"""The OpenAI client's requests as texts to be written, and what was written in its words."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from app.ledger.platform.text_usage import Written
from app.results.completion_requests import MAX_TOKENS, Asked, ChatIn, CompletionIn
from star_engine.config.star import StarConfig
from star_engine.config.tools import PythonTool
from star_engine.protocols import Completion, SamplingParams
from star_engine.tasks.programs.tool_use import ToolUse
from star_engine.tasks.reading.final_part import parted
from star_engine.tasks.reading.thinking_stream import ThinkingStream
from star_engine.writing import Piece, TokenScore, WriteRequest

JsonObject = dict[str, Any]
DEFAULT_TOKENS = 16  # of a completion, as OpenAI's own API has it
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Tooled:
    """The tool that an adapter's texts may call, as its job has set it. context: tokens; None: not known."""

    config: StarConfig
    tool: PythonTool
    context: int | None = None


@dataclass(slots=True)
class Choice:
    """One text of an answer, as far as it has come."""

    index: int
    text: str = ""
    scores: list[TokenScore] = field(default_factory=list)
    finish_reason: str | None = None
    prompt_tokens: int = 0
    tokens: int = 0
    pieces: int = 0  # of the model since `tokens` was last told
    begun: bool = False
    parts: list[tuple[str, str]] = field(default_factory=list)  # by whom, and what; neighbours differ
    use: ToolUse | None = None  # of a text that has ended and could call a tool

    def add(self, piece: Piece) -> None:
        self.text += piece.text
        self.scores += piece.scores
        self.finish_reason = piece.finish_reason
        self.begun = True
        if piece.ends or piece.tokens:
            self.prompt_tokens, self.tokens, self.pieces = piece.prompt_tokens, piece.tokens, 0
        elif piece.origin == "model":
            self.pieces += 1
        if piece.text:
            self._add_part(piece)

    def _add_part(self, piece: Piece) -> None:
        before = self.parts.pop() if self.parts and self.parts[-1][0] == piece.origin else (piece.origin, "")
        self.parts.append((piece.origin, before[1] + piece.text))


class Answer:
    """The answer to one request: which texts it asks for, and how they are shown."""

    def __init__(self, sent: CompletionIn | ChatIn) -> None:
        self.sent = sent
        self.chat = isinstance(sent, ChatIn)
        self.id = f"{'chatcmpl' if self.chat else 'cmpl'}-{secrets.token_hex(12)}"
        self._created = int(time.time())
        self.requests = tuple(_requests(self.id, sent))
        self.choices = {request.key: Choice(n) for n, request in enumerate(self.requests)}
        self.tooled: Tooled | None = None  # None: no tool can be called
        self.opening = ""  # what the prompt of a conversation has begun for the model
        self._streams: dict[str, ThinkingStream] = {}
        self.chosen: list[tuple[int, JsonObject]] = []  # places of the texts that are shown; empty: all are

    @property
    def ended(self) -> bool:
        return all(choice.finish_reason for choice in self.choices.values())

    def whole(self) -> JsonObject:
        """The answer in one piece."""
        kind = "chat.completion" if self.chat else "text_completion"
        shown = [self._choice(one) for one in self.choices.values()]
        if self.chosen:
            shown = [
                {**shown[at], "index": index, "selection": told}
                for index, (at, told) in enumerate(self.chosen)
            ]
        return {**self._head(kind), "choices": shown, "usage": self._usage()}

    def completions(self) -> list[Completion]:
        """All texts, in order, as the loop knows what was sampled."""
        return [
            Completion(str(one.index), one.text, one.prompt_tokens, one.tokens, _ended(one))
            for one in self.choices.values()
        ]

    def choose(self, pick: Callable[[Sequence[Completion]], tuple[int, JsonObject]]) -> None:
        """Show one of the texts behind each prompt: the one whose place is picked, and why it was."""
        texts, alike = self.completions(), self.sent.n or 1
        for start in range(0, len(texts), alike):
            place, why = pick(texts[start : start + alike])
            self.chosen.append((start + place, why))

    def begin(self) -> Iterator[bytes]:
        """What a stream of a conversation starts with."""
        if self.chat:
            for choice in self.choices.values():
                yield self._event(choice.index, {"delta": {"role": "assistant", "content": ""}})

    def event(self, piece: Piece) -> bytes:
        """A piece as an event of a stream."""
        choice = self.choices[piece.key]
        shown: JsonObject = {"delta": self._delta(piece)} if self.chat else {"text": piece.text}
        shown["logprobs"] = self._logprobs(piece.scores, len(choice.text) - len(piece.text))
        if self.tooled is not None:
            shown["origin"] = piece.origin
            if choice.use is not None:
                shown["tools"] = _used(choice.use)
        return self._event(choice.index, shown, piece.finish_reason)

    def _delta(self, piece: Piece) -> JsonObject:
        """What a piece adds to the thinking and to the content; neither, where a mark may not be complete."""
        stream = self._streams.setdefault(piece.key, ThinkingStream(self.opening))
        thought, said = stream.add(piece.text, last=piece.ends)
        added = {"reasoning_content": thought, "content": said}
        return {name: text for name, text in added.items() if text}

    def last(self) -> Iterator[bytes]:
        options = self.sent.stream_options
        if options is not None and options.include_usage:
            yield _event({**self._head(self._chunk), "choices": [], "usage": self._usage()})
        yield DONE

    @property
    def _chunk(self) -> str:
        return "chat.completion.chunk" if self.chat else "text_completion"

    def _head(self, kind: str) -> JsonObject:
        return {"id": self.id, "object": kind, "created": self._created, "model": self.sent.model}

    def _event(self, index: int, shown: JsonObject, reason: str | None = None) -> bytes:
        choice = {"index": index, **shown, "finish_reason": reason}
        return _event({**self._head(self._chunk), "choices": [choice]})

    def _choice(self, choice: Choice) -> JsonObject:
        shown: JsonObject
        if self.chat:
            thought, said = parted(self.opening + choice.text)
            message: JsonObject = {"role": "assistant", "content": said, "refusal": None}
            shown = {"message": message | ({"reasoning_content": thought} if thought else {})}
        else:
            shown = {"text": choice.text}
        shown["logprobs"] = self._logprobs(choice.scores, 0)
        if choice.use is not None:
            parts = [{"origin": origin, "text": text} for origin, text in choice.parts]
            shown["tools"] = {**_used(choice.use), "parts": parts}
        return {"index": choice.index, **shown, "finish_reason": choice.finish_reason}

    def written(self) -> Written:
        """How much has come so far. A prompt that several texts continue is counted once, and of a text that
        was given up each piece as a token."""
        alike, choices = max(1, self.sent.n or 1), self.choices.values()
        return Written(
            texts=sum(choice.begun for choice in choices),
            prompt_tokens=sum(choice.prompt_tokens for choice in choices if choice.index % alike == 0),
            completion_tokens=sum(one.tokens + one.pieces for one in choices),
        )

    def _usage(self) -> JsonObject:
        written = self.written()
        asked, said = written.prompt_tokens, written.completion_tokens
        return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}

    def _logprobs(self, scores: Sequence[TokenScore], start: int) -> JsonObject | None:
        if not scores:
            return None
        return _of_chat(scores) if self.chat else _of_completion(scores, start)


def _used(use: ToolUse) -> JsonObject:
    return {"calls": use.calls, "failed": use.failed, "limit": use.limit}


def _ended(choice: Choice) -> Literal["stop", "length"]:
    return "stop" if choice.finish_reason == "stop" else "length"


def error_event(error: Mapping[str, Any]) -> bytes:
    """What a stream that has begun can still say of a problem."""
    return _event({"error": dict(error)})


def _event(body: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"


def _of_completion(scores: Sequence[TokenScore], start: int) -> JsonObject:
    offsets = [start + sum(len(score.text) for score in scores[:at]) for at in range(len(scores))]
    return {
        "tokens": [score.text for score in scores],
        "token_logprobs": [score.logprob for score in scores],
        "top_logprobs": [None if score.logprob is None else _top(score) for score in scores],
        "text_offset": offsets,
    }


def _top(score: TokenScore) -> dict[str, float]:
    """The likeliest tokens by their text; the one that stands there is always among them."""
    top = dict(reversed(score.top))
    return top if score.logprob is None else {score.text: score.logprob} | top


def _of_chat(scores: Sequence[TokenScore]) -> JsonObject:
    return {
        "content": [
            {**_token(score.text, score.logprob or 0.0), "top_logprobs": [_token(*one) for one in score.top]}
            for score in scores
        ],
        "refusal": None,
    }


def _token(text: str, logprob: float) -> JsonObject:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}


def _requests(answer_id: str, sent: CompletionIn | ChatIn) -> Iterator[WriteRequest]:
    params, stream = _params(sent), bool(sent.stream)
    if isinstance(sent, ChatIn):
        prompts: tuple[Any, ...] = (tuple(message.as_json() for message in sent.messages),)
        logprobs, echo = (sent.top_logprobs or 0) if sent.logprobs else None, False
    else:
        prompts, logprobs, echo = sent.prompts, sent.logprobs, bool(sent.echo)
    number = 0
    for prompt in prompts:
        for copy in range(sent.n or 1):
            seed = None if sent.seed is None else sent.seed + copy
            yield WriteRequest(f"{answer_id}/{number}", prompt, params, seed, logprobs, echo, stream)
            number += 1


def _params(sent: Asked) -> SamplingParams:
    if isinstance(sent, ChatIn):
        limit = sent.max_completion_tokens or sent.max_tokens or MAX_TOKENS
    elif isinstance(sent, CompletionIn) and sent.max_tokens is not None:
        limit = sent.max_tokens
    else:
        limit = DEFAULT_TOKENS
    return SamplingParams(
        temperature=1.0 if sent.temperature is None else sent.temperature,
        top_p=1.0 if sent.top_p is None else sent.top_p,
        top_k=sent.top_k or 0,
        max_tokens=limit,
        stop=sent.stops,
    )
