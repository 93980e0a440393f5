"""A Sampler on plain PyTorch: the CPU fallback, and the reference that vLLM's tokens are compared with.

Always float32, on every device: an adapter merged into bfloat16 weights would be another model.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from star_engine.gpu.causal_lm import (
    context_length,
    eos_ids,
    load_model,
    load_tokenizer,
    logits_at,
    refuse_sliding_window,
    text_after,
)
from star_engine.gpu.kv_slots import ATTENTION, Keeper, Prefix, Slots
from star_engine.gpu.lora_merge import read_adapter
from star_engine.gpu.sampling_batch import Batch, R, Row, StopTokens, T, behind, common_prefix, make_draws
from star_engine.gpu.scoring import ScoredText, tokenize_texts
from star_engine.gpu.text_parts import request_ids, sampled_ids, text_ids
from star_engine.gpu.token_choice import choose
from star_engine.protocols import (
    Completion,
    SampleRequest,
    SamplingParams,
    Score,
    ScoreRequest,
    TrainingText,
)
from star_engine.sampling.stops import first_stop

# Below as many parameters a second thread spends more at barriers than it computes: at 0.9 M, beside a busy
# process, 256 prompts took 9.4 s on one thread and 48 to 92 s on two.
SMALL = 10_000_000
SHORTEST_PREFIX = 16  # tokens; below this, sharing costs more than it saves
PREFIXES_KEPT = 16  # a prompt set has one per group and route
PASS_NUMBERS = 2**26  # attention scores, or logits, of one pass over prompts or texts: 256 MB


class TransformersSampler:
    """Continuous batching: finished rows leave, waiting rows with the same prefix take their place.

    Rows whose prompts begin alike (the few-shot prefix) run together, and the prefix's keys are computed once
    for each adapter. Greedy completions depend on the batch only by float32 rounding; with temperature every
    row draws from its own seed, so its completion does not depend on the rows beside it either.
    """

    def __init__(
        self,
        base_model: Path,
        *,
        max_length: int | None = None,
        batch_size: int = 64,
        threads: int | None = None,
        device: str = "cpu",
    ) -> None:
        """`max_length`: tokens of prompt and completion; None: what the model allows.

        `threads`: None is one for a model below SMALL parameters, else what PyTorch would use.
        """
        self._model = load_model(base_model, dtype=torch.float32, device=device, attention=ATTENTION)
        self._tokenizer = load_tokenizer(base_model)
        self._max_length = context_length(base_model, max_length)
        refuse_sliding_window(self._model.config, self._max_length)
        self._batch_size = batch_size
        small = self._model.num_parameters() < SMALL
        self._threads = threads or (1 if small else torch.get_num_threads())
        self._eos = frozenset(eos_ids(base_model, self._tokenizer))
        self._device = torch.device(device)
        self._weights = dict(self._model.named_parameters())
        self._pristine: dict[str, torch.Tensor] = {}  # the base model's weights where an adapter is merged
        self._prefixes: deque[Prefix] = deque(maxlen=PREFIXES_KEPT)
        self._stop_tokens = StopTokens(self._tokenizer)

    def use(self, adapter: Path | None) -> None:
        """Merge in float32 from the untouched base weights: there and back is exact. Raises BadAdapter."""
        shapes = {name: weight.shape for name, weight in self._weights.items()}
        updates = read_adapter(adapter, shapes) if adapter is not None else {}
        self._prefixes.clear()
        with torch.inference_mode():
            for name, weight in self._pristine.items():
                self._weights[name].copy_(weight)
            self._pristine = {name: self._weights[name].clone() for name in updates}
            for name, update in updates.items():
                self._weights[name] += update.matrix().to(self._device)

    def stream(self, queue: deque[SampleRequest], params: SamplingParams) -> Iterator[Completion]:
        """See Sampler. ValueError, naming the key, for a prompt that leaves no room for a completion."""
        return self.decode(lambda: self._take(queue, params), lambda batch: self._advance(batch, params))

    def decode(self, take: Callable[[], list[Row]], advance: Callable[[Batch], list[T]]) -> Iterator[T]:
        """Run rows until `take` gives no more. `advance` appends the next token to each row of a batch, takes
        out those that have ended, and says what comes of that."""
        torch.set_num_threads(self._threads)
        while waiting := take():
            while waiting:
                running = Batch(self._shared_prefix(waiting))
                while (rows := self._joining(waiting, running)) or running.alive:
                    for fresh in self._prefill(running.prefix, rows):
                        yield from advance(fresh)
                        running.merge(fresh)
                    if running.alive:
                        self._decode(running)
                        yield from advance(running)
                    waiting += take()

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[Score]:
        """See Scorer. Texts whose prompts begin alike run together, as completions do."""
        torch.set_num_threads(self._threads)
        eos = self._tokenizer.eos_token_id
        waiting = tokenize_texts(self._tokenizer, requests, eos, self._max_length)
        while waiting:
            prefix = self._shared_prefix(waiting)
            fits = behind(prefix.ids, waiting)
            taken = set(fits)
            waiting = [text for text in waiting if text not in taken]
            for part in self._passes(prefix, fits):
                yield from self._score_pass(prefix, part)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in self.token_ids(texts)]

    def token_ids(self, texts: Sequence[str | TrainingText]) -> list[list[int]]:
        return text_ids(self._tokenizer, texts)

    def close(self) -> None:
        self._prefixes.clear()
        self._weights.clear()
        self._pristine.clear()
        self._model = None

    def _take(self, queue: deque[SampleRequest], params: SamplingParams) -> list[Row]:
        requests = [queue.popleft() for _ in range(len(queue))]
        encoded = request_ids(self._tokenizer, requests)
        return [self.row(request, ids, params) for request, ids in zip(requests, encoded, strict=True)]

    def row(self, request: SampleRequest, ids: list[int], params: SamplingParams) -> Row:
        """Raises ValueError, naming the key, for a prompt that leaves no room for a completion."""
        own = params.of(request)
        limit = min(own.max_tokens, self._max_length - len(ids))
        if not ids or limit < 1:
            raise ValueError(
                f"Prompt {request.key} has {len(ids)} tokens; 1 to {self._max_length - 1} fit the model."
            )
        draws = make_draws(request, limit) if params.temperature > 0 else None
        enders = self._stop_tokens.of(own.stop)
        return Row(request, np.array(ids), limit, own.stop, enders, draws, special=own.special)

    def _shared_prefix(self, waiting: Sequence[Row] | Sequence[ScoredText]) -> Prefix:
        """The prefix that saves most for a batch with the oldest waiting row in it."""
        oldest = waiting[0].ids
        shared = sorted((common_prefix(oldest, row.ids) for row in waiting), reverse=True)
        most = [min(rank, self._batch_size) * length for rank, length in enumerate(shared, start=1)]
        length = min(shared[int(np.argmax(most))], len(oldest) - 1)
        return self._prefix(tuple(oldest[:length].tolist()) if length >= SHORTEST_PREFIX else ())

    @torch.inference_mode()
    def _prefix(self, ids: tuple[int, ...]) -> Prefix:
        for known in self._prefixes:
            if known.ids[: len(ids)] == ids:
                return known.first(len(ids))
        prefix = Prefix(ids)
        if ids:
            tokens = torch.tensor([ids], device=self._device)
            positions = torch.arange(len(ids), device=self._device).unsqueeze(0)
            first, last = torch.tensor([[0], [len(ids) - 1]], device=self._device)
            self._forward(tokens, positions, prefix, first, last)
            self._prefixes.appendleft(prefix)
        return prefix

    def _joining(self, waiting: list[Row], running: Batch) -> list[Row]:
        """Rows to add now, taken out of `waiting`. A few free slots wait: prefill likes company."""
        free = self._batch_size - running.alive
        if not waiting or (running.alive and free < max(1, self._batch_size // 8)):
            return []
        fits = behind(running.prefix.ids, waiting)
        joining = set(fits[:free])
        waiting[:] = [row for row in waiting if row not in joining]
        return fits[:free]

    def _prefill(self, prefix: Prefix, rows: list[Row]) -> Iterator[Batch]:
        """Run the rows' own part of the prompt."""
        for part in self._passes(prefix, rows):
            yield self._prefill_pass(prefix, part)

    def _passes(self, prefix: Prefix, rows: Sequence[R]) -> Iterator[list[R]]:
        """Cut rows, longest first, into passes of bounded memory."""
        left = sorted(rows, key=lambda row: row.length, reverse=True)
        config = self._model.config
        while left:
            longest, scored = left[0].length, max(row.logits for row in left)
            scores = config.num_attention_heads * longest * (longest - len(prefix.ids))
            count = max(1, PASS_NUMBERS // max(scores, config.vocab_size * scored))
            yield left[:count]
            left = left[count:]

    @torch.inference_mode()
    def _prefill_pass(self, prefix: Prefix, rows: list[Row]) -> Batch:
        own = [row.ids[len(prefix.ids) :] for row in rows]
        slots = Slots(prefix, torch.tensor([len(part) for part in own], device=self._device))
        numbers = torch.arange(len(rows), device=self._device)
        return Batch(prefix, list(rows), slots, self._first_pass(slots, own, numbers, slots.lengths - 1))

    def _first_pass(
        self,
        slots: Slots,
        own: Sequence[NDArray[np.int64]],
        rows: torch.Tensor,
        columns: torch.Tensor,
    ) -> torch.Tensor:
        """Run what each row has behind the prefix; logits at these places of it."""
        tokens = torch.zeros(len(own), max(map(len, own)), dtype=torch.long)
        for index, part in enumerate(own):
            tokens[index, : len(part)] = torch.from_numpy(part)
        start = len(slots.prefix.ids)
        positions = torch.arange(start, start + tokens.shape[1], device=self._device).expand(tokens.shape)
        return self._forward(tokens.to(self._device), positions, slots, rows, columns)

    @torch.inference_mode()
    def logprobs_of(self, ids: Sequence[int]) -> torch.Tensor:
        """What comes behind each token of a prompt: log-probabilities, shape (tokens, vocabulary)."""
        torch.set_num_threads(self._threads)
        slots = Slots(Prefix(()), torch.tensor([len(ids)], device=self._device))
        columns = torch.arange(len(ids), device=self._device)
        logits = self._first_pass(slots, [np.array(ids)], torch.zeros_like(columns), columns)
        return logits.log_softmax(-1)

    @torch.inference_mode()
    def _score_pass(self, prefix: Prefix, texts: Sequence[ScoredText]) -> list[Score]:
        start = len(prefix.ids)
        own = [np.array(text.tokens[start:-1]) for text in texts]  # nothing is asked behind the last token
        places = [(n, at - 1 - start) for n, text in enumerate(texts) for at in text.scored]
        rows, columns = torch.tensor(places, device=self._device).unbind(1)
        slots = Slots(prefix, torch.tensor([len(part) for part in own], device=self._device))
        logits = self._first_pass(slots, own, rows, columns)
        asked = [[text.tokens[at]] for text in texts for at in text.scored]
        wanted = torch.tensor(asked, device=self._device)
        logprobs = iter(logits.log_softmax(-1).gather(-1, wanted).squeeze(-1).tolist())
        return [Score(text.key, tuple(islice(logprobs, len(text.scored)))) for text in texts]

    @torch.inference_mode()
    def _decode(self, batch: Batch) -> None:
        if (slots := batch.slots) is None:
            return
        last = [[row.generated[-1] if row else 0] for row in batch.rows]
        slots.begin_step()
        tokens = torch.tensor(last, device=self._device)
        rows = torch.arange(len(tokens), device=self._device)
        batch.logits = self._forward(tokens, slots.positions, slots, rows, torch.zeros_like(rows))
        slots.end_step()

    def _forward(
        self,
        tokens: torch.Tensor,
        positions: torch.Tensor,
        kv: Keeper,
        rows: torch.Tensor,
        columns: torch.Tensor,
    ) -> torch.Tensor:
        """Logits (places, vocabulary) at these columns of these rows."""
        with logits_at(self._model, rows, columns):
            out = self._model(input_ids=tokens, position_ids=positions, use_cache=False, kv=kv)
        logits: torch.Tensor = out.logits[0]
        return logits

    @torch.inference_mode()
    def _advance(self, batch: Batch, params: SamplingParams) -> list[Completion]:
        """Choose the next token of every row; finished rows leave their slots empty."""
        done: list[Completion] = []
        tokens = choose(batch.logits, params, batch.draws()).tolist()
        for index, row in enumerate(batch.rows):
            if row is None:
                continue
            row.generated.append(tokens[index])
            if completion := self.finished(row):
                done.append(completion)
                batch.rows[index] = None
        if done:
            batch.close_gaps()
        return done

    def finished(self, row: Row) -> Completion | None:
        """What a row has come to, where its last token ended it."""
        last = row.generated[-1]
        if last in self._eos:
            return self._completion(row, self.text(row, row.generated[:-1]), "stop")
        if last in row.enders:
            text = self.text(row, row.generated)
            if (found := first_stop(text, row.stop)) is not None:
                return self._completion(row, text[: found[0]], "stop", found[1])
        if len(row.generated) == row.limit:
            return self._completion(row, self.text(row, row.generated), "length")
        return None

    def text(self, row: Row, generated: Sequence[int]) -> str:
        return text_after(self._tokenizer, row.ids.tolist(), generated, special=row.special)

    def _completion(
        self, row: Row, text: str, reason: Literal["stop", "length"], stopped_by: str | None = None
    ) -> Completion:
        ids = None
        if row.request.continued:
            whole = text + (stopped_by or "")
            ids = sampled_ids(self._tokenizer, row.ids.tolist(), whole, row.generated)
        return Completion(
            row.request.key, text, len(row.ids), len(row.generated), reason, stopped_by, ids=ids
        )
