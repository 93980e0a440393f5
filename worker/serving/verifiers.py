"""Scores texts with trained verifiers, as an evaluation scores candidates, through the queue of a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any

from app.database import reading
from app.ledger.results.adapters import adapter_by_id
from app.tables.data import Model
from app.tables.jobs import Job
from star_engine.evaluation.candidates import score_distinct
from star_engine.evaluation.yes_no import score_yes_no
from star_engine.protocols import Completion, SamplingParams, Score, ScoreRequest
from star_engine.writing import TokenScore, WriteRequest
from worker.context import WorkerContext
from worker.serving.answers import Answer
from worker.serving.conversations import Conversations
from worker.serving.waiting import Target

NOTHING_WRITTEN = SamplingParams(temperature=0, max_tokens=0)
Ask = Callable[[Sequence[WriteRequest]], Mapping[str, Sequence[TokenScore]]]  # by key: those of the prompt


@dataclass(frozen=True, slots=True)
class _Tokens:
    """A base model's tokens, which one thread at a time may ask for."""

    tokenizer: Any
    longest: int
    lock: Lock


class Verifiers:
    """For several threads."""

    def __init__(self, context: WorkerContext, conversations: Conversations) -> None:
        self._context, self._conversations = context, conversations
        self._tokens: dict[Path, _Tokens] = {}
        self._lock = Lock()

    def scores(
        self, answer: Answer, target: Target, verifier_id: str, texts: Sequence[Completion], ask: Ask
    ) -> dict[int, float]:
        """The score of each text by its place, without those that are empty or too long for the verifier.

        For several seconds where the model's tokenizer is not known yet. Raises what `Conversations.verified`
        and `ask` raise, BadModel, or app.errors.NotFound.
        """
        with reading(self._context.engine) as session:
            adapter = adapter_by_id(session, verifier_id)
            method = adapter.training["method"]
            model = session.get_one(Model, session.get_one(Job, adapter.job_id).model_id)
        scorer = _QueueScorer(self._tokens_of(model), f"{answer.id}/{verifier_id}", ask)
        read = self._conversations.verified(answer, target, verifier_id, texts)
        some = [(place, text) for place, text in enumerate(read) if text is not None]
        if method == "yes_no":
            found = score_yes_no(scorer, some)
        else:
            found = score_distinct(scorer, [(place, text, True) for place, text in some])
        return {place: one.total for part in found for place, one in part.items()}

    def _tokens_of(self, model: Model) -> _Tokens:
        from star_engine.gpu.causal_lm import context_length, load_tokenizer

        folder = self._context.base_models.find(model)
        with self._lock:
            if folder not in self._tokens:
                longest = context_length(folder, model.context_length)
                self._tokens[folder] = _Tokens(load_tokenizer(folder), longest, Lock())
            return self._tokens[folder]


class _QueueScorer:
    """A TextScorer that asks for a prompt's own probabilities, as anyone may by `echo`."""

    def __init__(self, tokens: _Tokens, name: str, ask: Ask) -> None:
        self._tokens, self._name, self._ask = tokens, name, ask
        self._number = count()

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[Score]:
        from star_engine.gpu.scoring import tokenize_texts

        tokenizer = self._tokens.tokenizer
        with self._tokens.lock:
            texts = tokenize_texts(tokenizer, requests, tokenizer.eos_token_id, self._tokens.longest)
        asked = [
            WriteRequest(
                f"{self._name}/{next(self._number)}", text.tokens, NOTHING_WRITTEN, logprobs=1, echo=True
            )
            for text in texts
        ]
        found = self._ask(asked)
        for text, request in zip(texts, asked, strict=True):
            told = found[request.key]
            yield Score(text.key, tuple(float(told[at].logprob or 0.0) for at in text.scored))
