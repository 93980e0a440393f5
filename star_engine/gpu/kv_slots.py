"""Key-value memory of a running batch: one shared prefix for all rows, one slot per row for what follows it.

The few-shot prefix is most of every prompt. Read once per row and decode step it would be nearly all memory
traffic (at width 128: 236 MB a step for 64 rows of 900 tokens); as one shared matrix it is 3.7 MB.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface

ATTENTION = "star_shared_prefix"  # attn_implementation of a model that is run with `kv=...`
GROW = 64  # columns added when a slot is full


class Keeper(Protocol):
    """What a forward pass is given as `kv`: it stores each layer's new keys and values and attends to all."""

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """Shapes (rows, heads, new tokens, head width); fewer heads in key and value where shared."""


class Prefix:
    """Keys and values of tokens that several prompts begin with; per layer (kv heads, tokens, head width)."""

    def __init__(self, ids: tuple[int, ...]) -> None:
        self.ids = ids
        self.keys: list[torch.Tensor] = []
        self.values: list[torch.Tensor] = []

    def first(self, length: int) -> Prefix:
        """The same prefix, shortened: a token's keys do not depend on what follows it."""
        short = Prefix(self.ids[:length])
        short.keys = [layer[:, :length] for layer in self.keys]
        short.values = [layer[:, :length] for layer in self.values]
        return short

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """The prefix itself runs through the model, as the only row."""
        self.keys.append(key[0].contiguous())
        self.values.append(value[0].contiguous())
        return _causal(query, key, value, scale)


class Slots:
    """The rows of a batch behind one prefix. The first forward pass fills them, each later adds a token."""

    def __init__(self, prefix: Prefix, lengths: torch.Tensor) -> None:
        """`lengths`: tokens of each row after the prefix, shape (rows,). Rows are padded on the right."""
        self.prefix = prefix
        self.lengths = lengths
        self._keys: list[torch.Tensor] = []  # per layer (rows, kv heads, columns, head width)
        self._values: list[torch.Tensor] = []
        self._rows = torch.arange(len(lengths), device=lengths.device)
        self._hidden = torch.empty(
            0
        )  # (rows, 1, 1, columns in use): minus infinity where a row has no token yet

    @property
    def positions(self) -> torch.Tensor:
        """Position of each row's next token, shape (rows, 1)."""
        return (self.lengths + len(self.prefix.ids)).unsqueeze(1)

    def begin_step(self) -> None:
        """Make room for one more token a row."""
        used = int(self.lengths.max()) + 1
        if used > self._columns:
            self._widen(self._columns + GROW)
        columns = torch.arange(used, device=self.lengths.device)
        free = (columns > self.lengths.unsqueeze(1))[:, None, None, :]
        self._hidden = torch.zeros(free.shape, device=free.device).masked_fill_(free, float("-inf"))

    def end_step(self) -> None:
        self.lengths = self.lengths + 1

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        if layer == len(self._keys):
            self._keys.append(key)
            self._values.append(value)
            return self._attend_first(layer, query, scale)
        self._keys[layer][self._rows, :, self.lengths] = key[:, :, 0]
        self._values[layer][self._rows, :, self.lengths] = value[:, :, 0]
        used = self._hidden.shape[-1]
        keys, values = self._keys[layer][:, :, :used], self._values[layer][:, :, :used]
        return _behind_prefix(self.prefix, layer, query, keys, values, self._hidden, scale)

    def _attend_first(self, layer: int, query: torch.Tensor, scale: float) -> torch.Tensor:
        keys, values = self._keys[layer], self._values[layer]
        if not self.prefix.ids:
            return _causal(query, keys, values, scale)
        length = query.shape[2]
        later = torch.full((length, length), float("-inf"), device=query.device).triu_(1)
        return _behind_prefix(self.prefix, layer, query, keys, values, later, scale)

    def keep(self, rows: torch.Tensor) -> Slots:
        """Move these rows to new slots without gaps."""
        kept = Slots(self.prefix, self.lengths[rows])
        kept._keys = [layer[rows] for layer in self._keys]
        kept._values = [layer[rows] for layer in self._values]
        return kept

    def add(self, other: Slots) -> None:
        """Append the rows of another batch behind the same prefix."""
        columns = max(self._columns, other._columns)
        self._widen(columns)
        other._widen(columns)
        self.lengths = torch.cat([self.lengths, other.lengths])
        self._keys = [torch.cat(pair) for pair in zip(self._keys, other._keys, strict=True)]
        self._values = [torch.cat(pair) for pair in zip(self._values, other._values, strict=True)]
        self._rows = torch.arange(len(self.lengths), device=self.lengths.device)

    @property
    def _columns(self) -> int:
        return self._keys[0].shape[2]

    def _widen(self, columns: int) -> None:
        more = (0, 0, 0, columns - self._columns)
        if more[-1] > 0:
            self._keys = [pad(layer, more) for layer in self._keys]
            self._values = [pad(layer, more) for layer in self._values]


def _causal(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
    shared = query.shape[1] != key.shape[1]
    return scaled_dot_product_attention(query, key, value, is_causal=True, scale=scale, enable_gqa=shared)


def _behind_prefix(
    prefix: Prefix,
    layer: int,
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor,
    scale: float,
) -> torch.Tensor:
    """Compute one softmax over the shared prefix and own tokens; `mask` is added to the scores of
    the latter.
    """
    rows, heads, new, width = query.shape
    kv_heads, own = keys.shape[1], keys.shape[2]
    grouped = (query * scale).reshape(rows, kv_heads, heads // kv_heads, new, width)
    folded = grouped.reshape(rows, kv_heads, -1, width)
    scores = (folded @ keys.transpose(2, 3)).reshape(rows, kv_heads, heads // kv_heads, new, own)
    scores = scores + (mask.unsqueeze(2) if mask.ndim == 4 else mask)
    scores = scores.reshape(rows, kv_heads, -1, own)
    if not prefix.ids:
        return (scores.softmax(-1) @ values).reshape(rows, heads, new, width)
    shared = folded.transpose(0, 1).reshape(
        kv_heads, -1, width
    )  # all rows as one matrix: the prefix is read once
    before = (shared @ prefix.keys[layer].transpose(1, 2)).reshape(kv_heads, rows, -1, len(prefix.ids))
    weights = torch.cat([before.transpose(0, 1), scores], dim=-1).softmax(-1)
    first, second = weights[..., : len(prefix.ids)], weights[..., len(prefix.ids) :]
    first = first.transpose(0, 1).reshape(kv_heads, -1, len(prefix.ids))
    seen = (first @ prefix.values[layer]).reshape(kv_heads, rows, -1, width).transpose(0, 1)
    out: torch.Tensor = (seen + second @ values).reshape(rows, heads, new, width)
    return out


def _attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    kv: Keeper,
    scaling: float | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    if softcap is not None:
        raise ValueError(
            "This sampler does not know attention with a soft cap: use the vLLM sampler for this model."
        )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    seen = kv.attend(module.layer_idx, query, key, value, scale)
    return seen.transpose(1, 2).contiguous(), None


AttentionInterface.register(ATTENTION, _attention)
