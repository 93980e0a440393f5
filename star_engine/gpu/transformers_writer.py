"""A Writer on the transformers sampler: the same batch, a piece for each token that somebody waits for."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from star_engine.gpu.causal_lm import context_length, load_tokenizer, prompt_ids
from star_engine.gpu.sampling_batch import Batch, Row
from star_engine.gpu.text_parts import parts_ids
from star_engine.gpu.token_choice import choose
from star_engine.gpu.transformers_sampler import TransformersSampler
from star_engine.protocols import SampleRequest, SamplingParams
from star_engine.writing import Piece, TokenScore, WriteRequest

HALF_A_CHARACTER = "\ufffd"  # what an incomplete UTF-8 sequence is decoded to


@dataclass(slots=True)
class _Text:
    """A text that is being written."""

    request: WriteRequest
    scores: list[TokenScore] = field(default_factory=list)  # not given out yet
    decoded: str = ""  # of the tokens that have scores
    sent: int = 0  # characters


class TransformersWriter:
    """Texts of any settings run beside each other; each row's next token is chosen by its own."""

    def __init__(self, sampler: TransformersSampler, base_model: Path, max_length: int | None = None) -> None:
        self._sampler = sampler
        self._tokenizer = load_tokenizer(base_model)
        self._max_length = context_length(base_model, max_length)
        self._texts: dict[Row, _Text] = {}

    def use(self, adapter: Path | None) -> None:
        self._sampler.use(adapter)

    def write(self, queue: deque[WriteRequest], dropped: set[str]) -> Iterator[Piece]:
        self._texts.clear()
        at_once: list[Piece] = []  # of texts that need no row, or get none

        def take() -> list[Row]:
            return self._take(queue, at_once)

        while True:
            for piece in self._sampler.decode(take, lambda batch: self._advance(batch, dropped)):
                yield from _all_of(at_once)
                yield piece
            yield from _all_of(at_once)
            if not queue:
                return

    def _take(self, queue: deque[WriteRequest], at_once: list[Piece]) -> list[Row]:
        rows = []
        for request in [queue.popleft() for _ in range(len(queue))]:
            try:
                row = self._begin(request, at_once)
            except ValueError as problem:
                at_once.append(Piece(request.key, error=str(problem)))
            else:
                rows += row
        return rows

    def _begin(self, request: WriteRequest, at_once: list[Piece]) -> list[Row]:
        """The row of a request; none where it asks for its prompt alone. ValueError where it cannot run."""
        ids = self._tokens(request.prompt)
        ids = [*ids, *chain(*parts_ids(self._tokenizer, ids, request.parts))]
        if not 0 < len(ids) < self._max_length:
            raise ValueError(f"The prompt has {len(ids)} tokens; 1 to {self._max_length - 1} fit the model.")
        if max(ids) >= len(self._tokenizer):
            raise ValueError(f"The prompt has the token {max(ids)}; the model has {len(self._tokenizer)}.")
        text = _Text(request)
        echoed = self._echo(text, ids) if request.echo else ""
        if request.params.max_tokens == 0:
            ended = Piece(request.key, echoed, tuple(text.scores), "length", len(ids), 0)
            at_once.append(ended)
            return []
        if echoed:
            at_once.append(Piece(request.key, echoed, tuple(text.scores)))
            text.scores = []
        asked = SampleRequest(request.key, "", request.seed, continued=request.continued)
        row = self._sampler.row(asked, ids, request.params)
        self._texts[row] = text
        return [row]

    def _tokens(self, prompt: str | tuple[Any, ...]) -> list[int]:
        if isinstance(prompt, str):
            (ids,) = prompt_ids(self._tokenizer, [prompt])
            return ids
        if not (prompt and isinstance(prompt[0], dict)):
            return list(prompt)
        if not self._tokenizer.chat_template:
            raise ValueError(
                "This model has no chat template, so it does not know what a conversation is: send its "
                "prompt as text to /v1/completions."
            )
        text = self._tokenizer.apply_chat_template(list(prompt), add_generation_prompt=True, tokenize=False)
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _echo(self, text: _Text, ids: Sequence[int]) -> str:
        """The prompt as text, with the scores of its tokens where they are wanted."""
        count = text.request.logprobs
        whole: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        if count is None:
            return whole
        logprobs = self._sampler.logprobs_of(ids)
        shown = [self._tokenizer.decode([token]) for token in ids]
        text.scores = [TokenScore(shown[0], None)]
        for at in range(1, len(ids)):
            text.scores.append(self._score(shown[at], ids[at], logprobs[at - 1], count))
        return whole

    def _score(self, shown: str, token: int, logprobs: torch.Tensor, count: int) -> TokenScore:
        values, likeliest = logprobs.topk(min(count, logprobs.shape[-1]))
        names = [self._tokenizer.decode([other]) for other in likeliest.tolist()]
        top = tuple(zip(names, values.tolist(), strict=True))
        return TokenScore(shown, float(logprobs[token]), top)

    @torch.inference_mode()
    def _advance(self, batch: Batch, dropped: set[str]) -> list[Piece]:
        """Choose the next token of every row by its own settings; what there is to read of it."""
        tokens = self._choose(batch)
        pieces: list[Piece] = []
        for index, row in enumerate(batch.rows):
            if row is None:
                continue
            text = self._texts[row]
            if text.request.key in dropped:
                dropped.discard(text.request.key)
                batch.rows[index] = None
                del self._texts[row]
                continue
            row.generated.append(tokens[index])
            if text.request.logprobs is not None:
                self._keep_score(text, row, batch.logits[index])
            piece = self._piece(text, row)
            if piece is not None:
                pieces.append(piece)
            if piece is not None and piece.ends:
                batch.rows[index] = None
                del self._texts[row]
        batch.close_gaps()
        return pieces

    def _choose(self, batch: Batch) -> list[int]:
        chosen = [0] * len(batch.rows)
        alike: dict[SamplingParams, list[int]] = {}
        for index, row in enumerate(batch.rows):
            if row is not None:
                params = self._texts[row].request.params
                settings = SamplingParams(params.temperature, params.top_p, params.top_k)
                alike.setdefault(settings, []).append(index)
        draws = batch.draws()
        for settings, indices in alike.items():
            at = torch.tensor(indices, device=batch.logits.device)
            own = None if draws is None else draws[at]
            for index, token in zip(indices, choose(batch.logits[at], settings, own).tolist(), strict=True):
                chosen[index] = token
        return chosen

    def _keep_score(self, text: _Text, row: Row, logits: torch.Tensor) -> None:
        decoded = self._sampler.text(row, row.generated)
        shown, text.decoded = decoded[len(text.decoded) :], decoded
        count = text.request.logprobs or 0
        text.scores.append(self._score(shown, row.generated[-1], logits.log_softmax(-1), count))

    def _piece(self, text: _Text, row: Row) -> Piece | None:
        key = text.request.key
        if done := self._sampler.finished(row):
            rest, scores = done.text[text.sent :], tuple(text.scores)
            return Piece(
                key=key,
                text=rest,
                scores=scores,
                finish_reason=done.finish_reason,
                prompt_tokens=done.prompt_tokens,
                tokens=done.tokens,
                stopped_by=done.stopped_by,
                ids=done.ids,
            )
        if not text.request.stream:
            return None
        written = self._sampler.text(row, row.generated)
        ready = len(written) - _held_back(written, text.request.params.stop)
        if ready <= text.sent:
            return None
        piece = Piece(key, written[text.sent : ready], tuple(text.scores))
        text.sent, text.scores = ready, []
        return piece


def _held_back(text: str, stops: Sequence[str]) -> int:
    """Characters at the end that the next token may still change, or make a stop string of."""
    if text.endswith(HALF_A_CHARACTER):
        return len(text) - len(text.rstrip(HALF_A_CHARACTER))
    longest = max(map(len, stops), default=1) - 1
    return next(
        (size for size in range(longest, 0, -1) if any(stop.startswith(text[-size:]) for stop in stops)), 0
    )


def _all_of(pieces: list[Piece]) -> Iterator[Piece]:
    while pieces:
        yield pieces.pop(0)
