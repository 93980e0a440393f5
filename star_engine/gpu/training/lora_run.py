"""The optimizer's side of a training run: loss, gradients, steps, and the state needed to resume."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch.nn.functional import cross_entropy

from star_engine.config.star import Training
from star_engine.gpu.causal_lm import logits_at
from star_engine.gpu.training.batch_plan import Group, padded_parts, plan_apart, plan_batch
from star_engine.gpu.training.checkpointing import start_checkpointing
from star_engine.gpu.training.distillation_loss import TaughtRow, divergence
from star_engine.gpu.training.frozen_head import hidden_at, plain_head, summed_loss
from star_engine.gpu.training.lean_lora import adapter_off
from star_engine.gpu.training.packed_rows import Pack, start_packing
from star_engine.gpu.training.pair_loss import TokenizedPair, summed_pairs
from star_engine.gpu.training.shared_prefix import SharedPrefix, can_share
from star_engine.gpu.training.tokenized_rows import TokenizedRow
from star_engine.gpu.training.train_checkpoint import ResumePoint
from star_engine.protocols import BadAdapter, Distillation, Preference, is_out_of_memory

# What a model is to return, and at which rows and columns: logits_at or hidden_at.
Picked = Callable[[Any, torch.Tensor, torch.Tensor], AbstractContextManager[None]]
Item = TypeVar("Item")
Plan = Callable[[Sequence[TokenizedRow], int, str, bool], list[Group]]  # rows, limit, kind of device, packed


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that share every batch. `add` sums a tensor over all of them."""

    rank: int = 0
    count: int = 1
    add: Callable[[torch.Tensor], torch.Tensor] = lambda tensor: tensor
    sharded: bool = False  # whether each holds a piece of every layer, and computes only with all others

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files."""
        return self.rank == 0

    def part(self, rows: Sequence[TokenizedRow]) -> Sequence[TokenizedRow]:
        """Return this rank's rows of a batch, long and short ones dealt out evenly. May be empty."""
        if self.count == 1:
            return rows
        return sorted(rows, key=lambda row: len(row.ids), reverse=True)[self.rank :: self.count]

    def most(self, own: int, device: torch.device) -> int:
        """Return the largest of what the ranks have. A message to all: each has to ask."""
        numbers = torch.zeros(self.count, dtype=torch.int64, device=device)
        numbers[self.rank] = own
        return int(self.add(numbers).max())

    def first_says(self, digest: bytes, device: torch.device) -> bytes:
        """Return what the first of them has for this. A message to all: each has to ask."""
        if self.count == 1:
            return digest
        own = digest if self.first else bytes(len(digest))
        return bytes(self.add(torch.tensor(list(own), dtype=torch.int64, device=device)).tolist())


@dataclass(frozen=True, slots=True)
class Learned:
    """One optimizer step."""

    loss: float  # mean of a token that counts
    grad_norm: float  # before it was clipped
    learning_rate: float
    margin: float | None = None  # of pairs, as in TrainingProgress
    pair_accuracy: float | None = None


class LoraRun:
    """AdamW on the adapter's weights; linear warm-up, then a constant rate, or one that falls at the end.

    A carried optimizer has its warm-up behind it as far as the trainings before have come. steps: how many
    this training takes in all, which only `training.decay_share` asks for.
    """

    def __init__(
        self,
        model: Any,
        training: Training,
        seed: int,
        device: torch.device,
        ranks: Ranks,
        steps: int | None = None,
    ) -> None:
        self.step = 0  # optimizer steps done
        self._decay_steps = training.decay_share * (steps or 0)
        self._last = steps or 0
        self._carried = 0  # those of the trainings before, whose moments this one goes on with
        self._model = model
        self._training = training
        self._seed = seed
        self._device = device
        self._ranks = ranks
        # Dropout draws again for every row: a prefix that is run once would be dropped for all rows alike.
        # A prefix has its way back after those of its rows: too late for sharded layers.
        shares = training.lora.dropout == 0 and can_share(model.get_base_model().config) and not ranks.sharded
        self.plan: Plan = plan_batch if shares else plan_apart
        self._weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self._optimizer = torch.optim.AdamW(
            self._weights.values(),
            lr=training.learning_rate,
            weight_decay=training.weight_decay,
            fused=device.type == "cuda",  # one kernel for all weights, where there are hundreds
        )
        # On CUDA memory decides how many tokens run at once; on CPU the chunks are slower (decision 22).
        self.head = plain_head(model.get_base_model()) if device.type == "cuda" else None
        # There one kernel serves rows of any lengths; on CPU they are padded, which is faster.
        self.packed = device.type == "cuda" and start_packing(model.get_base_model())

    def learn(self, rows: Sequence[TokenizedRow], token_limit: int) -> Learned:
        """Take one optimizer step on these rows, `token_limit` at a time.

        Raises FloatingPointError before anything is updated where the loss or a gradient is not finite, and
        torch.OutOfMemoryError, on all ranks alike, where one of them has run out of memory.
        """
        count = sum(row.loss_tokens for row in rows)
        spare = min(rows, key=lambda row: len(row.ids))
        own = self._ranks.part(rows)
        [total] = self._sums(partial(self._learn_rows, own, spare, count, token_limit), 1)
        return self._update(total)

    def learn_pairs(
        self, pairs: Sequence[TokenizedPair], preference: Preference, token_limit: int
    ) -> Learned:
        """Take one optimizer step on these pairs. Raises as `learn` does."""
        own = sorted(pairs, key=lambda pair: pair.length, reverse=True)[self._ranks.rank :: self._ranks.count]
        spare = min(pairs, key=lambda pair: pair.longest)
        learn = partial(self._learn_pairs, own, spare, preference, len(pairs), token_limit)
        total, margin, right = self._sums(learn, 3)
        return replace(self._update(total), margin=margin, pair_accuracy=right)

    def learn_distilled(
        self, rows: Sequence[TaughtRow], distillation: Distillation, token_limit: int
    ) -> Learned:
        """Take one optimizer step on these tries with their teachers. Raises as `learn` does."""
        own = sorted(rows, key=lambda row: row.length, reverse=True)[self._ranks.rank :: self._ranks.count]
        spare = min(rows, key=lambda row: row.longest)
        learn = partial(self._learn_distilled, own, spare, distillation, len(rows), token_limit)
        [total] = self._sums(learn, 1)
        return self._update(total)

    def _learn_distilled(
        self,
        rows: Sequence[TaughtRow],
        spare: TaughtRow,
        distillation: Distillation,
        whole: int,
        token_limit: int,
    ) -> list[float]:
        """Gradients of tries with a teacher; their share of the loss, a mean over tokens, then over tries."""
        total = 0.0
        parts = list(padded_parts(rows, token_limit, lambda row: row.longest))
        for part, count in self._passes(parts, whole, [spare]):
            with torch.no_grad(), adapter_off(self._model):
                wanted, _, _ = self._learned_logits([one.teacher for one in part], None)
            logits, _, row = self._learned_logits([one.student for one in part], None)
            tokens = torch.tensor([one.student.loss_tokens for one in part], device=logits.device)
            loss = (divergence(logits, wanted, distillation) / tokens[row]).sum() / count
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        return [total]

    def _sums(self, learn: Callable[[], list[float]], count: int) -> list[float]:
        """Gradients of a whole batch, and its `count` sums. learn: this rank's part of both."""
        self._optimizer.zero_grad(set_to_none=True)
        return self._add_up(self._accumulate(learn), count)

    def _update(self, total: float) -> Learned:
        """Let the optimizer take its step on the gradients that were added up."""
        clipped = torch.nn.utils.clip_grad_norm_(self._weights.values(), self._training.max_grad_norm)
        norm = clipped.item()
        if not (math.isfinite(total) and math.isfinite(norm)):
            raise FloatingPointError(
                f"The loss of optimizer step {self.step + 1} is {total}, its gradient norm {norm}: "
                "the training diverged. Lower training.learning_rate or add training.warmup_steps."
            )
        rate = self._training.learning_rate * self._rate_share()
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self.step += 1
        return Learned(total, norm, rate)

    def _rate_share(self) -> float:
        """Of the peak rate, in the step that comes. Its last step with a decay still moves the weights."""
        warm = (self.steps + 1) / max(1, self._training.warmup_steps)
        left = (self._last - self.step) / self._decay_steps if self._decay_steps else 1.0
        return min(1.0, warm, left)

    def _accumulate(self, learn: Callable[[], list[float]]) -> list[float] | None:
        """Gradients of this rank's part; its share of the sums, None where its memory did not suffice."""
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            # Dropout is a function of step and rank: no state.
            torch.manual_seed((self._seed * 1_000_003 + self.step) * self._ranks.count + self._ranks.rank)
            try:
                return learn()
            except RuntimeError as error:
                if self._ranks.count == 1 or self._ranks.sharded or not is_out_of_memory(error):
                    raise
                return None  # the others wait for this rank's sum: they are told with it

    def _passes(
        self, parts: list[list[Item]], count: int, spare: list[Item]
    ) -> Iterator[tuple[list[Item], float]]:
        """This rank's parts, and what each is divided by.

        Sharded layers compute on all ranks or on none: a rank with fewer parts than another runs the spare
        one in their place, divided by infinity.
        """
        more = self._ranks.most(len(parts), self._device) - len(parts) if self._ranks.sharded else 0
        yield from ((part, count) for part in parts)
        yield from ((spare, math.inf) for _ in range(more))

    def _learn_rows(
        self, rows: Sequence[TokenizedRow], spare: TokenizedRow, count: int, token_limit: int
    ) -> list[float]:
        groups = self.plan(rows, token_limit, self._device.type, self.packed)
        if not self._ranks.sharded:
            return [sum((self._learn_group(group, count) for group in groups), 0.0)]
        parts = [part for group in groups for part in group.parts]  # no prefix is shared
        passes = self._passes(parts, count, [spare])
        return [sum(self._learn_group(Group(0, [part]), share) for part, share in passes)]

    def _learn_pairs(
        self,
        pairs: Sequence[TokenizedPair],
        spare: TokenizedPair,
        preference: Preference,
        whole: int,
        token_limit: int,
    ) -> list[float]:
        """Gradients of pairs; their share of loss, margin and accuracy."""
        sums = [0.0, 0.0, 0.0]
        parts = list(padded_parts(pairs, token_limit, lambda pair: pair.longest, rows_each=2))
        for part, count in self._passes(parts, whole, [spare]):
            logprobs = self.row_logprobs([row for pair in part for row in pair.rows])
            found = summed_pairs(part, logprobs, preference, count)
            found.loss.backward()  # type: ignore[no-untyped-call]
            one = (found.loss.item(), found.margin, found.right)
            sums = [before + more for before, more in zip(sums, one, strict=True)]
        return sums

    def _add_up(self, sums: list[float] | None, count: int) -> list[float]:
        """Sum the gradients over all ranks, in one message; the `count` sums of the whole batch."""
        if self._ranks.count == 1 and sums is not None:
            return sums
        for weight in self._weights.values():
            if weight.grad is None or sums is None:
                weight.grad = torch.zeros_like(weight)
        facts = torch.tensor([*(sums or [0.0] * count), float(sums is None)], device=self._device)
        parts = [weight.grad.flatten() for weight in self._weights.values()]
        summed = self._ranks.add(torch.cat([*parts, facts]))
        *totals, failed = summed[-count - 1 :].tolist()
        if failed:
            raise torch.OutOfMemoryError("A training process ran out of memory.")
        start = 0
        for weight in self._weights.values():
            weight.grad.copy_(summed[start : start + weight.numel()].view_as(weight))
            start += weight.numel()
        return [float(total) for total in totals]

    def _learn_group(self, group: Group, count: float) -> float:
        """Gradients of rows that begin alike; their share of the loss."""
        total = torch.zeros(
            (), dtype=torch.float64, device=self._device
        )  # read once: it waits for the device
        prefix = None
        if group.prefix:
            rows = [row for part in group.parts for row in part]
            prefix = SharedPrefix(self._model, rows, group.prefix, self._device)
        for part in group.parts:
            loss = self.summed_loss(part, prefix) / count
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        if prefix is not None:
            prefix.backward(count)
            total += prefix.loss.detach().double() / count
        return float(total.item())

    def summed_loss(self, rows: Sequence[TokenizedRow], prefix: SharedPrefix | None) -> torch.Tensor:
        """Return the summed negative log-likelihood of the tokens after the prefix.

        Padding is on the right, where none sees it. A row's last token predicts nothing and is left out.
        """
        learned = self._learned_packed if self.packed else self._learned
        if self.head is not None:
            hidden, wanted, _ = learned(rows, prefix, hidden_at)
            return summed_loss(hidden, self.head, wanted)
        logits, wanted, _ = learned(rows, prefix, logits_at)
        return cross_entropy(logits.float(), wanted, reduction="sum")

    def row_logprobs(self, rows: Sequence[TokenizedRow]) -> torch.Tensor:
        """Return the logarithm of each row's probability, over the tokens that are learned."""
        logits, wanted, row = self._learned_logits(rows, None)
        losses = cross_entropy(logits, wanted, reduction="none")
        return -torch.zeros(len(rows), device=losses.device).index_add(0, row, losses)

    def _learned_logits(
        self, rows: Sequence[TokenizedRow], prefix: SharedPrefix | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the logits before each learned token, the token, and the number of its row."""
        logits, wanted, row = self._learned(rows, prefix, logits_at)
        return logits.float(), wanted, row

    def _learned(
        self, rows: Sequence[TokenizedRow], prefix: SharedPrefix | None, picked: Picked
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The same, with what `picked` has the model return in the place of logits."""
        behind = 0 if prefix is None else prefix.length
        longest = max(len(row.ids) for row in rows)
        ids = torch.tensor(
            [[*row.ids[behind:], *[row.ids[-1]] * (longest - len(row.ids))] for row in rows]
        ).to(self._device)
        places = [
            (n, at - behind)
            for n, row in enumerate(rows)
            for at in range(behind + 1, len(row.ids))
            if row.learns(at)
        ]
        row, column = torch.tensor(places, device=self._device).unbind(1)
        past = {} if prefix is None else {"past_key_values": prefix.cache(len(rows))}
        with picked(self._model.get_base_model(), row, column - 1):
            found = self._model(input_ids=ids[:, :-1], use_cache=bool(past), **past).logits
        return found.squeeze(0), ids[row, column], row

    def _learned_packed(
        self, rows: Sequence[TokenizedRow], prefix: SharedPrefix | None, picked: Picked
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The same, of rows one behind the other in one sequence."""
        behind = 0 if prefix is None else prefix.length
        pack = Pack.of(rows, behind, self._device)
        places, start = [], 0  # (number of the row, place of what predicts it, the token)
        for n, (one, length) in enumerate(zip(rows, pack.lengths, strict=True)):
            learned = (at for at in range(behind + 1, len(one.ids)) if one.learns(at))
            places += [(n, start + at - behind - 1, one.ids[at]) for at in learned]
            start += length
        row, column, wanted = torch.tensor(places, device=self._device).unbind(1)
        past = {} if prefix is None else {"past_key_values": prefix.cache(1)}
        with picked(self._model.get_base_model(), torch.zeros_like(column), column):
            found = self._model(**pack.inputs(), use_cache=bool(past), **past).logits
        return found.squeeze(0), wanted, row

    def checkpoint_layers(self, count: int | None = None) -> bool:
        """Trade speed for memory from now on, in so many layers (checkpointing.py); None: in all of them.

        False: there is no more to be had.
        """
        self.plan = plan_apart
        return start_checkpointing(self._model.get_base_model(), count)

    @property
    def steps(self) -> int:
        """Steps that the optimizer has taken, in this training and in those that it goes on from."""
        return self._carried + self.step

    def carry(self, moments: dict[str, torch.Tensor], steps: int) -> None:
        """Go on with the optimizer of the training before. Raises BadAdapter where it does not fit."""
        for name, weight in self._weights.items():
            found = moments.get(f"exp_avg.{name}"), moments.get(f"exp_avg_sq.{name}")
            if any(one is None or one.shape != weight.shape for one in found):
                raise BadAdapter(f"The optimizer state to go on with does not fit {name}.")
        self._carried = steps
        self._set_moments(moments)

    def _set_moments(self, state: dict[str, torch.Tensor]) -> None:
        for name, weight in self._weights.items():
            self._optimizer.state[weight] = {
                "step": torch.tensor(float(self.steps)),
                "exp_avg": state[f"exp_avg.{name}"].to(self._device),
                "exp_avg_sq": state[f"exp_avg_sq.{name}"].to(self._device),
            }

    def state(self) -> dict[str, torch.Tensor]:
        """Weights and both moments of the optimizer, by weight name; the step count is the run's own."""
        state: dict[str, torch.Tensor] = {}
        for name, weight in self._weights.items():
            moments = self._optimizer.state[weight]
            state |= {f"weight.{name}": weight.detach()}
            state |= {f"{key}.{name}": moments[key] for key in ("exp_avg", "exp_avg_sq")}
        return state

    def resume(self, point: ResumePoint | None) -> int:
        """Continue from a checkpoint; returns the tokens seen up to there."""
        if point is None:
            return 0
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(point.state[f"weight.{name}"])
        self.step = point.step
        self._set_moments(point.state)
        return point.tokens
