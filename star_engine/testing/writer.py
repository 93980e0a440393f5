"""A Writer that follows a script, for tests of what serves models: a token is a word."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from star_engine.protocols import SampleRequest
from star_engine.sampling.stops import first_stop
from star_engine.testing.adapters import read_weights
from star_engine.testing.addition import Script
from star_engine.testing.fakes import WORD
from star_engine.writing import Piece, TokenScore, WriteRequest

LOGPROB = -0.5  # of every word


class ScriptedWriter:
    """Its conversations are lines of `role: content`; tokens of a prompt are the code points of its text."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._adapter: Path | None = None

    def use(self, adapter: Path | None) -> None:
        if adapter is not None:
            read_weights(adapter)
        self._adapter = adapter

    def write(self, queue: deque[WriteRequest], dropped: set[str]) -> Iterator[Piece]:
        """A word of each text in turn."""
        running: list[Iterator[Piece]] = []
        while queue or running:
            running += [self._pieces(queue.popleft(), dropped) for _ in range(len(queue))]
            for pieces in list(running):
                if (piece := next(pieces, None)) is None:
                    running.remove(pieces)
                elif piece.text or piece.ends:
                    yield piece

    def _pieces(self, request: WriteRequest, dropped: set[str]) -> Iterator[Piece]:
        prompt = _as_text(request.prompt) + "".join(part.text for part in request.parts)
        asked = SampleRequest(request.key, prompt, request.seed)
        text = self._script(asked, self._adapter) if request.params.max_tokens else ""
        end, stop = first_stop(text, request.params.stop) or (len(text), None)
        words, limit = WORD.findall(text[:end]), request.params.max_tokens
        counts = (len(WORD.findall(prompt)), min(len(words), limit))
        if request.echo:
            yield Piece(request.key, prompt, self._scores(request, WORD.findall(prompt), first=True))
        for word in words[:limit]:
            if request.key in dropped:
                return
            yield Piece(request.key, word, self._scores(request, [word]))
        if len(words) > limit:
            yield Piece(request.key, "", (), "length", *counts)
        else:
            yield Piece(request.key, "", (), "stop", *counts, stopped_by=stop)

    def _scores(
        self, request: WriteRequest, words: Sequence[str], *, first: bool = False
    ) -> tuple[TokenScore, ...]:
        if request.logprobs is None:
            return ()
        return tuple(
            TokenScore(word, None if first and not number else LOGPROB, ((word, LOGPROB),))
            for number, word in enumerate(words)
        )


def _as_text(prompt: str | tuple[Any, ...]) -> str:
    if isinstance(prompt, str):
        return prompt
    if all(isinstance(token, int) for token in prompt):
        return "".join(map(chr, prompt))
    lines = [f"{message['role']}: {message['content']}\n" for message in prompt]
    return "".join([*lines, "assistant:"])
