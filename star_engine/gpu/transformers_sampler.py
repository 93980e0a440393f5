"""A Sampler on plain PyTorch: the CPU fallback, and the oracle that vLLM's tokens are held against.

Always float32, on every device: an adapter merged into bfloat16 weights would be another model.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from star_engine.gpu.causal_lm import (
    context_length,
    eos_ids,
    load_model,
    load_tokenizer,
    logits_at,
    prompt_ids,
    text_after,
)
from star_engine.gpu.kv_slots import ATTENTION, Keeper, Prefix, Slots
from star_engine.gpu.lora_merge import read_adapter
from star_engine.gpu.sampling_batch import Batch, Row, common_prefix, make_draws
from star_engine.gpu.token_choice import choose
from star_engine.protocols import Completion, SampleRequest, SamplingParams
from star_engine.sampling.stops import first_stop

# Below as many parameters a second thread spends more at barriers than it computes: at 0.9 M, beside a busy
# process, 256 prompts took 9.4 s on one thread and 48 to 92 s on two.
SMALL = 10_000_000
SHORTEST_PREFIX = 16  # tokens; below this, sharing costs more than it saves
PREFIXES_KEPT = 16  # a prompt set has one per group and route
PREFILL_SCORES = 2**26  # attention scores of one prefill pass: 256 MB


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
        _refuse_sliding_window(self._model.config, self._max_length)
        self._batch_size = batch_size
        small = self._model.num_parameters() < SMALL
        self._threads = threads or (1 if small else torch.get_num_threads())
        self._eos = frozenset(eos_ids(base_model, self._tokenizer))
        self._device = torch.device(device)
        self._weights = dict(self._model.named_parameters())
        self._pristine: dict[str, torch.Tensor] = {}  # the base model's weights where an adapter is merged
        self._prefixes: deque[Prefix] = deque(maxlen=PREFIXES_KEPT)
        self._pieces: list[str] | None = None
        self._enders_of: dict[tuple[str, ...], frozenset[int]] = {}

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
        torch.set_num_threads(self._threads)
        while waiting := self._take(queue, params):
            while waiting:
                running = Batch(self._shared_prefix(waiting))
                while (rows := self._joining(waiting, running)) or running.alive:
                    for fresh in self._prefill(running.prefix, rows):
                        yield from self._advance(fresh, params)
                        running.merge(fresh)
                    if running.alive:
                        self._decode(running)
                        yield from self._advance(running, params)
                    waiting += self._take(queue, params)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in self.token_ids(texts)]

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        return prompt_ids(self._tokenizer, texts)

    def close(self) -> None:
        self._prefixes.clear()
        self._weights.clear()
        self._pristine.clear()
        self._model = None

    def _take(self, queue: deque[SampleRequest], params: SamplingParams) -> list[Row]:
        requests = [queue.popleft() for _ in range(len(queue))]
        encoded = prompt_ids(self._tokenizer, [request.prompt for request in requests])
        return [self._row(request, ids, params) for request, ids in zip(requests, encoded, strict=True)]

    def _row(self, request: SampleRequest, ids: list[int], params: SamplingParams) -> Row:
        own = params.of(request)
        limit = min(own.max_tokens, self._max_length - len(ids))
        if not ids or limit < 1:
            raise ValueError(
                f"Prompt {request.key} has {len(ids)} tokens; 1 to {self._max_length - 1} fit the model."
            )
        draws = make_draws(request, limit) if params.temperature > 0 else None
        return Row(request, np.array(ids), limit, own.stop, self._enders(own.stop), draws)

    def _shared_prefix(self, waiting: Sequence[Row]) -> Prefix:
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
            last = torch.tensor([len(ids) - 1], device=self._device)
            self._forward(tokens, torch.arange(len(ids), device=self._device).unsqueeze(0), prefix, last)
            self._prefixes.appendleft(prefix)
        return prefix

    def _joining(self, waiting: list[Row], running: Batch) -> list[Row]:
        """Rows to add now, taken out of `waiting`. A few free slots wait: prefill likes company."""
        free = self._batch_size - running.alive
        if not waiting or (running.alive and free < max(1, self._batch_size // 8)):
            return []
        prefix = np.array(running.prefix.ids, dtype=np.int64)
        fits = [
            row
            for row in waiting
            if len(row.ids) > len(prefix) and common_prefix(prefix, row.ids) == len(prefix)
        ]
        joining = set(fits[:free])
        waiting[:] = [row for row in waiting if row not in joining]
        return fits[:free]

    def _prefill(self, prefix: Prefix, rows: list[Row]) -> Iterator[Batch]:
        """Run the rows' own part of the prompt, longest first, in passes of bounded memory."""
        rows = sorted(rows, key=lambda row: len(row.ids), reverse=True)
        heads = self._model.config.num_attention_heads
        while rows:
            longest = len(rows[0].ids)
            count = max(1, PREFILL_SCORES // (heads * longest * (longest - len(prefix.ids))))
            yield self._prefill_pass(prefix, rows[:count])
            rows = rows[count:]

    @torch.inference_mode()
    def _prefill_pass(self, prefix: Prefix, rows: list[Row]) -> Batch:
        start = len(prefix.ids)
        lengths = torch.tensor([len(row.ids) - start for row in rows])
        tokens = torch.zeros(len(rows), int(lengths.max()), dtype=torch.long)
        for index, row in enumerate(rows):
            tokens[index, : lengths[index]] = torch.from_numpy(row.ids[start:])
        slots = Slots(prefix, lengths.to(self._device))
        positions = torch.arange(start, start + tokens.shape[1], device=self._device).expand(tokens.shape)
        logits = self._forward(tokens.to(self._device), positions, slots, slots.lengths - 1)
        return Batch(prefix, list(rows), slots, logits)

    @torch.inference_mode()
    def _decode(self, batch: Batch) -> None:
        if (slots := batch.slots) is None:
            return
        last = [[row.generated[-1] if row else 0] for row in batch.rows]
        slots.begin_step()
        tokens = torch.tensor(last, device=self._device)
        batch.logits = self._forward(tokens, slots.positions, slots, torch.zeros_like(slots.lengths))
        slots.end_step()

    def _forward(
        self, tokens: torch.Tensor, positions: torch.Tensor, kv: Keeper, columns: torch.Tensor
    ) -> torch.Tensor:
        """Logits (rows, vocabulary) at one column of each row."""
        rows = torch.arange(len(tokens), device=self._device)
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
            if completion := self._finished(row):
                done.append(completion)
                batch.rows[index] = None
        if done:
            batch.close_gaps()
        return done

    def _finished(self, row: Row) -> Completion | None:
        last = row.generated[-1]
        if last in self._eos:
            return self._completion(row, self._text(row, row.generated[:-1]), "stop")
        if last in row.enders:
            text = self._text(row, row.generated)
            if (found := first_stop(text, row.stop)) is not None:
                return self._completion(row, text[: found[0]], "stop", found[1])
        if len(row.generated) == row.limit:
            return self._completion(row, self._text(row, row.generated), "length")
        return None

    def _text(self, row: Row, generated: Sequence[int]) -> str:
        return text_after(self._tokenizer, row.ids.tolist(), generated)

    def _completion(
        self, row: Row, text: str, reason: Literal["stop", "length"], stopped_by: str | None = None
    ) -> Completion:
        return Completion(row.request.key, text, len(row.ids), len(row.generated), reason, stopped_by)

    def _enders(self, stop: tuple[str, ...]) -> frozenset[int]:
        """Tokens that can complete a stop string: only after these is the text decoded and searched."""
        if stop not in self._enders_of:
            self._enders_of[stop] = self._find_enders(stop)
        return self._enders_of[stop]

    def _find_enders(self, stop: tuple[str, ...]) -> frozenset[int]:
        if not stop:
            return frozenset()
        if self._pieces is None:
            self._pieces = self._tokenizer.batch_decode([[token] for token in range(len(self._tokenizer))])
        ends = {text[-1] for text in stop}
        if " " in ends:  # some decoders drop a leading space of a single token
            return frozenset(range(len(self._pieces)))
        return frozenset(
            token
            for token, piece in enumerate(self._pieces)
            if "\ufffd" in piece or not ends.isdisjoint(piece)
        )


def _refuse_sliding_window(config: Any, max_length: int) -> None:
    """Slots hold every token and show every row all of its own: right only where the window never slides."""
    window = getattr(config, "sliding_window", None)
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    used = getattr(config, "use_sliding_window", True) if kinds <= {"full_attention"} else True
    if kinds - {"full_attention", "sliding_attention"} or (window and used and max_length > window):
        raise ValueError("This sampler knows full attention only: use the vLLM sampler for this model.")
