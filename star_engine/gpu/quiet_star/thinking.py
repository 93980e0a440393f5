"""A thought at every position of a text at once (Quiet-STaR, section 4.2), on any stock decoder.

Each position's thought sees the text up to there and itself. The keys of step i of all thoughts are one block
behind those of the text, and of that block a position sees its own entry alone: a diagonal. So a step is one
forward pass over all positions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers.cache_utils import Cache

from star_engine.config.quiet_star import QuietStar, Thoughts
from star_engine.gpu.quiet_star.thought_head import ThoughtHead

NEVER = -1e10  # the logit of what no thought holds; minus infinity times its probability is no number


class Policy:
    """How the tokens of thoughts are drawn. `banned`: ids that no thought holds, such as EOS."""

    def __init__(self, settings: QuietStar, banned: torch.Tensor, generator: torch.Generator) -> None:
        self._settings = settings
        self._banned = banned
        self._generator = generator

    def logprobs(self, logits: torch.Tensor) -> torch.Tensor:
        """Of what is drawn from, of the shape of `logits`, (rows, length, vocabulary)."""
        if self._settings.thoughts is Thoughts.RANDOM:
            logits = torch.zeros_like(logits)
        temperature = self._settings.temperature or 1.0
        return (logits.float() / temperature).index_fill(-1, self._banned, NEVER).log_softmax(-1)

    def draw(self, logprobs: torch.Tensor) -> torch.Tensor:
        """Tokens of shape (rows, length)."""
        if self._settings.temperature == 0:
            return logprobs.argmax(-1)
        flat = logprobs.detach().exp().flatten(0, 1)
        return torch.multinomial(flat, 1, generator=self._generator).view(logprobs.shape[:2])


def recomputed(function: Callable[..., Any], *given: Any) -> Any:
    """What the function gives; in the backward pass it is called again, so that what it computes on the way
    is not kept. Logits always are computed so: of a large vocabulary they would take most of a step's memory.
    """
    if not torch.is_grad_enabled():
        return function(*given)
    return checkpoint(function, *given, use_reentrant=False)


@dataclass(frozen=True, slots=True)
class Thinking:
    """What the model computed for `rows` windows of `length` tokens."""

    without: torch.Tensor  # hidden states of the text alone: (rows, length, hidden)
    after: tuple[torch.Tensor, ...]  # after the thought, and then after each true token: the same shape each
    tokens: torch.Tensor  # of the thoughts: (rows, length, thought tokens)
    logprobs: torch.Tensor  # of these tokens, summed over a thought: (rows, length)
    entropy: torch.Tensor  # of what they were drawn from, the mean, in nats: a scalar without gradient


class Thinker:
    """A decoder that may think. `model`: a causal language model of transformers, with or without LoRA.

    `checkpointed`: whether the backward pass computes each pass of the decoder again (gradient
    checkpointing), of which input, output, keys and values alone are kept. Gradients are the same.
    """

    def __init__(
        self, model: Any, head: ThoughtHead, settings: QuietStar, *, checkpointed: bool = False
    ) -> None:
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        refuse_scaled_logits(base.config)
        self.model = model
        self.head = head
        self.settings = settings
        self.checkpointed = checkpointed
        self._decoder = base.get_decoder()
        self._embed = base.get_input_embeddings()
        self.unembed = base.get_output_embeddings()

    def think(self, ids: torch.Tensor, policy: Policy, *, last: bool = False) -> Thinking:
        """Think at every position of `ids`, of shape (rows, length), or behind the last one alone.

        The true tokens that follow a thought are fed as they stand in the window; behind its end they are
        those of its beginning, and what is predicted there must not be used. Behind the last position there
        are none: one token is predicted.
        """
        blocks = _Blocks(self._decoder, ids, checkpointed=self.checkpointed)
        without = blocks.step(self._embed(ids))
        if last:
            blocks.keep_last()
            without = without[:, -1:]
        after, tokens, entropies = self._row(self.head.start_row, without), [], []
        logprobs = without.new_zeros(without.shape[:2])
        for _ in range(self.settings.steps_of_thought):
            hidden = blocks.step(after)
            with torch.no_grad():
                spread = policy.logprobs(self.unembed(hidden))
                chosen = policy.draw(spread)
                entropies.append(-(spread.exp() * spread).sum(-1).mean())
            logprobs = logprobs + recomputed(self._logprob, policy, hidden, chosen)
            tokens.append(chosen)
            after = self._embed(chosen)
        blocks.step(after)
        predictions = [blocks.step(self._row(self.head.end_row, without))]
        predictions += [
            blocks.step(self._embed(ids.roll(-ahead, dims=1)))
            for ahead in range(1, 1 if last else self.settings.ahead_tokens)
        ]
        return Thinking(
            without=without,
            after=tuple(predictions),
            tokens=torch.stack(tokens, dim=-1) if tokens else ids.new_zeros(*without.shape[:2], 0),
            logprobs=logprobs,
            entropy=torch.stack(entropies).mean() if entropies else without.new_zeros(()).detach(),
        )

    def _logprob(self, policy: Policy, hidden: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        spread = policy.logprobs(self.unembed(hidden))
        return spread.gather(-1, chosen.unsqueeze(-1)).squeeze(-1)

    def read(self, ids: torch.Tensor) -> torch.Tensor:
        """Hidden states of the text without thoughts, of shape (rows, length, hidden)."""
        hidden: torch.Tensor = self._decoder(input_ids=ids, use_cache=False).last_hidden_state
        return hidden

    @staticmethod
    def _row(row: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        return row.to(like.dtype).expand_as(like)


class _Blocks:
    """Forward passes over all positions of a text: first its own tokens, then one more for every position."""

    def __init__(self, decoder: Any, ids: torch.Tensor, *, checkpointed: bool) -> None:
        rows, length = ids.shape
        self._decoder = decoder
        self._checkpointed = checkpointed
        self._states: list[torch.Tensor] = []  # of the passes so far, as _Before has them
        self._text = torch.ones(length, length, dtype=torch.bool, device=ids.device).tril()
        self._own = torch.eye(length, dtype=torch.bool, device=ids.device)
        self._positions = torch.arange(length, device=ids.device).expand(rows, length)

    def keep_last(self) -> None:
        """From now on only the last position thinks."""
        self._text, self._positions = self._text[-1:], self._positions[:, -1:]
        self._own = self._own[-1:, -1:]

    def step(self, embedded: torch.Tensor) -> torch.Tensor:
        """Hidden states of one more pass, of the shape of `embedded`, (rows, length, hidden): every position
        sees the text up to there and its own tokens of the passes before.
        """
        given = embedded, self._positions, *self._states
        hidden, *states = recomputed(self._forward, *given) if self._checkpointed else self._forward(*given)
        self._states += states
        self._positions = self._positions + 1
        return hidden

    def _forward(
        self, embedded: torch.Tensor, positions: torch.Tensor, *before: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Hidden states of a pass, and its own keys and values."""
        cache = _Before(before, self._decoder.config.num_hidden_layers)
        visible = torch.cat([self._text, self._own.repeat(1, cache.passes)], dim=1)
        hidden: torch.Tensor = self._decoder(
            inputs_embeds=embedded,
            attention_mask=_additive(visible, embedded),
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        return hidden, *cache.own


class _Before(Cache):  # type: ignore[misc]  # transformers types it as Any
    """What a pass sees of those before it, and `own`: what it adds.

    States are keys and values of shape (rows, heads, length, size): those of the first layer, of the second
    and so on, pass behind pass.
    """

    def __init__(self, states: Sequence[torch.Tensor], layers: int) -> None:
        super().__init__(layers=[])
        self.own: list[torch.Tensor] = []
        self._states = states
        self._each = 2 * layers  # tensors of a pass

    @property
    def passes(self) -> int:
        return len(self._states) // self._each

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of all passes. A layer calls it with its own, and layers do in their order."""
        self.own += (key_states, value_states)
        keys, values = (self._states[2 * layer_idx + n :: self._each] for n in (0, 1))
        return torch.cat([*keys, key_states], dim=-2), torch.cat([*values, value_states], dim=-2)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Positions that are there before the pass."""
        return sum(keys.shape[-2] for keys in self._states[2 * layer_idx :: self._each])


def _additive(visible: torch.Tensor, embedded: torch.Tensor) -> torch.Tensor:
    """(length, keys) as booleans to (rows, 1, length, keys) as numbers that are added to scores."""
    mask = embedded.new_zeros(visible.shape).masked_fill(~visible, torch.finfo(embedded.dtype).min)
    return mask[None, None].expand(embedded.shape[0], 1, -1, -1)


def refuse_scaled_logits(config: Any) -> None:
    """Raise ValueError for a model that changes its logits after the output layer."""
    for name in ("final_logit_softcapping", "logit_scale", "logits_scaling"):
        if getattr(config, name, None) not in (None, 1.0):
            raise ValueError(f"Quiet-STaR does not fit this base model: it has {name}.")
