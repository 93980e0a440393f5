"""A thought at every position of a text at once (Quiet-STaR, section 4.2), on any stock decoder.

Each position's thought sees the text up to there and itself. The keys of step i of all thoughts are one block
behind those of the text, and of that block a position sees its own entry alone: a diagonal. So a step is one
forward pass over all positions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers import DynamicCache

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
    """What the function gives; in the backward pass it is called again, so that its logits are not kept: of a
    large vocabulary they would take most of the memory of a step.
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
    """A decoder that may think. `model`: a causal language model of transformers, with or without LoRA."""

    def __init__(self, model: Any, head: ThoughtHead, settings: QuietStar) -> None:
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        refuse_scaled_logits(base.config)
        self.model = model
        self.head = head
        self.settings = settings
        self._decoder = base.get_decoder()
        self._embed = base.get_input_embeddings()
        self.unembed = base.get_output_embeddings()

    def think(self, ids: torch.Tensor, policy: Policy, *, last: bool = False) -> Thinking:
        """Think at every position of `ids`, of shape (rows, length), or behind the last one alone.

        The true tokens that follow a thought are fed as they stand in the window; behind its end they are
        those of its beginning, and what is predicted there must not be used. Behind the last position there
        are none: one token is predicted.
        """
        blocks = _Blocks(self._decoder, ids)
        without = blocks.text(self._embed(ids))
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
    """Forward passes over all positions of a text, each behind the ones before it."""

    def __init__(self, decoder: Any, ids: torch.Tensor) -> None:
        rows, length = ids.shape
        self._decoder = decoder
        self._cache = DynamicCache()
        self._visible = torch.ones(length, length, dtype=torch.bool, device=ids.device).tril()
        self._own = torch.eye(length, dtype=torch.bool, device=ids.device)
        self._positions = torch.arange(length, device=ids.device).expand(rows, length)

    def text(self, embedded: torch.Tensor) -> torch.Tensor:
        return self._forward(embedded)

    def keep_last(self) -> None:
        """From now on only the last position thinks."""
        self._visible, self._positions = self._visible[-1:], self._positions[:, -1:]
        self._own = self._own[-1:, -1:]

    def step(self, embedded: torch.Tensor) -> torch.Tensor:
        """One more token for every position, which sees its own earlier ones."""
        self._visible = torch.cat([self._visible, self._own], dim=1)
        self._positions = self._positions + 1
        return self._forward(embedded)

    def _forward(self, embedded: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self._decoder(
            inputs_embeds=embedded,
            attention_mask=_additive(self._visible, embedded),
            position_ids=self._positions,
            past_key_values=self._cache,
            use_cache=True,
        ).last_hidden_state
        return hidden


def _additive(visible: torch.Tensor, embedded: torch.Tensor) -> torch.Tensor:
    """(length, keys) as booleans to (rows, 1, length, keys) as numbers that are added to scores."""
    mask = embedded.new_zeros(visible.shape).masked_fill(~visible, torch.finfo(embedded.dtype).min)
    return mask[None, None].expand(embedded.shape[0], 1, -1, -1)


def refuse_scaled_logits(config: Any) -> None:
    """Raise ValueError for a model that changes its logits after the output layer."""
    for name in ("final_logit_softcapping", "logit_scale", "logits_scaling"):
        if getattr(config, name, None) not in (None, 1.0):
            raise ValueError(f"Quiet-STaR does not fit this base model: it has {name}.")
