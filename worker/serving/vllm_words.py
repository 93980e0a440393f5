"""A text that is to be written, in the words of vLLM's /v1/completions, and what it says of it as pieces."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal

from star_engine.writing import Piece, TokenScore, WriteRequest

DATA = "data: "


def body_of(
    request: WriteRequest, prompt: str | tuple[int, ...], model: str, longest: int | None, bos: str
) -> dict[str, Any]:
    """The request's body. `longest`: tokens of the context, more than which vLLM refuses to be asked for."""
    params = request.params
    body: dict[str, Any] = {
        "model": model,
        "prompt": prompt,
        "max_tokens": params.max_tokens if longest is None else min(params.max_tokens, longest),
        "temperature": params.temperature,
        "top_p": params.top_p,
        "top_k": params.top_k,
        "stop": list(params.stop),
        "echo": request.echo,
        "stream": request.stream,
        "spaces_between_special_tokens": False,
        "add_special_tokens": not (bos and isinstance(prompt, str) and prompt.startswith(bos)),
    }
    if request.params.special:
        body["skip_special_tokens"] = False
    if request.continued:
        body["return_token_ids"] = True
    if request.logprobs is not None:
        body["logprobs"] = request.logprobs
    if request.seed is not None and params.temperature > 0:  # a seed costs time at every step
        body["seed"] = request.seed
    if request.stream:
        body["stream_options"] = {"include_usage": True}
    return body


def whole_of(request: WriteRequest, answer: Mapping[str, Any]) -> Piece:
    """The whole text. Raises ValueError or LookupError where it has not ended as it was asked to."""
    (choice,), usage = answer["choices"], answer["usage"]
    ids = tuple(choice["token_ids"]) if request.continued else None
    return _last(request, _piece(request, choice), choice, usage, ids)


async def pieces_of(request: WriteRequest, lines: AsyncIterator[str]) -> AsyncIterator[Piece]:
    """The pieces of a stream; the last one comes with its usage. Raises as `whole_of` does."""
    last: tuple[Piece, Mapping[str, Any]] | None = None
    ids: list[int] = []
    async for line in lines:
        if not line.startswith(DATA) or line == "data: [DONE]":
            continue
        event = json.loads(line[len(DATA) :])
        if "error" in event:
            raise ValueError(str(event["error"]))
        for choice in event["choices"]:
            piece, reason = _piece(request, choice), choice.get("finish_reason")
            ids += choice.get("token_ids") or ()
            if reason is not None:
                last = piece, choice
            elif piece.text or piece.scores:
                yield piece
        if event.get("usage") and last is not None:
            yield _last(request, *last, event["usage"], tuple(ids) if request.continued else None)
            return
    raise ValueError("vLLM's stream ended before its text did.")


def _piece(request: WriteRequest, choice: Mapping[str, Any]) -> Piece:
    told = choice.get("logprobs")
    scores = tuple(_scores(request.logprobs or 0, told)) if told and request.logprobs is not None else ()
    return Piece(request.key, choice["text"], scores)


def _last(
    request: WriteRequest,
    piece: Piece,
    choice: Mapping[str, Any],
    usage: Mapping[str, Any],
    ids: tuple[int, ...] | None,
) -> Piece:
    """The piece with which a text ends. `ids`: all of its tokens, with those of what ended it."""
    reason, stop = choice["finish_reason"], choice.get("stop_reason")
    if reason not in ("stop", "length"):
        raise ValueError(f"vLLM ended a text with {reason!r}.")
    asked, written = int(usage["prompt_tokens"]), int(usage["completion_tokens"])
    if request.params.max_tokens == 0:  # vLLM always writes a token; it was asked to show the prompt alone
        return Piece(piece.key, piece.text, piece.scores, "length", asked, 0)
    ended: Literal["stop", "length"] = "stop" if reason == "stop" else "length"
    stopped_by = stop if isinstance(stop, str) else None  # a number: an end-of-sequence token
    return Piece(piece.key, piece.text, piece.scores, ended, asked, written, stopped_by=stopped_by, ids=ids)


def _scores(count: int, told: Mapping[str, Any]) -> list[TokenScore]:
    """vLLM's logprobs; it adds the token that stands there to the likeliest ones."""
    tops = told.get("top_logprobs") or [None] * len(told["tokens"])
    return [
        TokenScore(text, logprob, tuple(sorted((top or {}).items(), key=lambda one: -one[1])[:count]))
        for text, logprob, top in zip(told["tokens"], told["token_logprobs"], tops, strict=True)
    ]
