"""Rows of a batch one behind the other in a single sequence, without padding: each sees itself alone.

On CUDA attention is one kernel for rows of any lengths (torch.nn.attention.varlen). Elsewhere it is computed
row by row, which is slower than padding, and what the tests hold packing against.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from star_engine.gpu.causal_lm import logits_at
from star_engine.gpu.training.shared_prefix import can_share
from star_engine.gpu.training.tokenized_rows import TokenizedRow

NAME = "star_packed"  # of the attention: transformers' own sdpa where no rows are packed
NEAR = (
    0.05  # of the largest logit: by which packed rows may differ in bfloat16; those that see others do more
)


@dataclass(frozen=True, slots=True)
class Pack:
    """Rows in one sequence, behind `prefix` tokens that all of them see through past keys and values."""

    ids: torch.Tensor  # (1, tokens): each row but its last token, without the prefix
    positions: torch.Tensor  # (1, tokens): of each token in its row
    queries: torch.Tensor  # (rows + 1,), int32: where each row begins in `ids`
    keys: torch.Tensor  # (rows + 1,), int32: the same of its keys, the prefix among them
    lengths: list[int]  # tokens of each row in `ids`
    prefix: int
    order: torch.Tensor | None  # of the keys, as `keys` counts them, where there is a prefix

    @staticmethod
    def of(rows: Sequence[TokenizedRow], prefix: int, device: torch.device) -> Pack:
        """Lay out these rows, which have their first `prefix` tokens in common."""
        lengths = [len(row.ids) - 1 - prefix for row in rows]
        starts = list(accumulate(lengths, initial=0))
        order = [
            number
            for start, length in zip(starts[:-1], lengths, strict=True)
            for number in (*range(prefix), *range(prefix + start, prefix + start + length))
        ]
        whole = list(accumulate((prefix + length for length in lengths), initial=0))
        positions = [at for length in lengths for at in range(prefix, prefix + length)]
        return Pack(
            torch.tensor([[token for row in rows for token in row.ids[prefix:-1]]], device=device),
            torch.tensor([positions], device=device),
            torch.tensor(starts, dtype=torch.int32, device=device),
            torch.tensor(whole, dtype=torch.int32, device=device),
            lengths,
            prefix,
            torch.tensor(order, device=device) if prefix else None,
        )

    def inputs(self) -> dict[str, Any]:
        """What the model's forward is given. The mask of four dimensions is handed on, and not looked at."""
        mask = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=self.ids.device)
        return {"input_ids": self.ids, "position_ids": self.positions, "attention_mask": mask, "pack": self}


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    pack: Pack | None = None,
    **given: Any,
) -> tuple[torch.Tensor, None]:
    """Attention as transformers calls it, of (1, heads, tokens, width); returns (1, tokens, heads, width)."""
    if pack is None:
        out, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **given)
        return out, None
    scale, window = given.get("scaling"), given.get("sliding_window")
    if pack.order is not None:  # each row has the prefix's keys before its own
        key, value = key.index_select(2, pack.order), value.index_select(2, pack.order)
    if query.is_cuda:
        return _by_one_kernel(query, key, value, pack, scale, window), None
    return _row_by_row(query, key, value, pack, scale, window), None


def _by_one_kernel(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    pack: Pack,
    scale: float | None,
    window: int | None,
) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn

    longest = max(pack.lengths)
    own, keys, values = (one[0].transpose(0, 1) for one in (query, key, value))
    out: Any = varlen_attn(
        own,
        keys,
        values,
        pack.queries,
        pack.keys,
        longest,
        longest + pack.prefix,
        scale=scale,
        window_size=(-1 if window is None else window - 1, 0),
        enable_gqa=True,
    )
    return out.unsqueeze(0)  # type: ignore[no-any-return]


def _row_by_row(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    pack: Pack,
    scale: float | None,
    window: int | None,
) -> torch.Tensor:
    widths = [pack.prefix + length for length in pack.lengths]
    sizes = zip((query, key, value), (pack.lengths, widths, widths), strict=True)
    pieces = zip(*(torch.split(one, size, 2) for one, size in sizes), strict=True)
    rows = []
    for (own, keys, values), length, width in zip(pieces, pack.lengths, widths, strict=True):
        seen = _seen(length, width, window, query.device)
        rows.append(
            scaled_dot_product_attention(own, keys, values, attn_mask=seen, scale=scale, enable_gqa=True)
        )
    return torch.cat(rows, 2).transpose(1, 2)


def _seen(length: int, width: int, window: int | None, device: torch.device) -> torch.Tensor:
    """Which of `width` keys the last `length` tokens see: those before them, and themselves."""
    behind = torch.arange(width - length, width, device=device)[:, None] - torch.arange(width, device=device)
    return (behind >= 0) if window is None else (behind >= 0) & (behind < window)


@torch.no_grad()
def start_packing(base: Any) -> bool:
    """Give transformers' model an attention that can pack rows. False, and as it was: it computes otherwise.

    Three rows are tried both ways, and behind a prefix: models with a state of their own, or whose attention
    is not told which rows are packed, and devices without the kernel are found out.
    """
    before = base.config._attn_implementation  # noqa: SLF001 - it has no public name
    if before not in ("sdpa", NAME):  # eager ones have a soft cap
        return False
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    most = min(64, base.config.vocab_size)
    rows = [TokenizedRow((1, 2, 3, *((7 * n + k) % most for n in range(6 + k))), 1) for k in range(3)]
    alone = torch.cat([_last_logits(base, [row], 0) for row in rows])
    base.set_attn_implementation(NAME)
    try:
        packed = [_last_logits(base, rows, prefix) for prefix in ((0, 3) if can_share(base.config) else (0,))]
    except (TypeError, ImportError, RuntimeError):
        packed = []
    if packed and all((one - alone).abs().max() <= NEAR * alone.abs().max() for one in packed):
        return True
    base.set_attn_implementation(before)
    return False


def _last_logits(base: Any, rows: Sequence[TokenizedRow], prefix: int) -> torch.Tensor:
    """Logits behind each row, packed if they are several: (rows, vocabulary)."""
    device = base.get_input_embeddings().weight.device
    if len(rows) == 1:
        ids = torch.tensor([rows[0].ids[:-1]], device=device)
        return base(input_ids=ids, use_cache=False).logits[:, -1]  # type: ignore[no-any-return]
    pack, past = Pack.of(rows, prefix, device), {}
    if prefix:
        past = {"past_key_values": DynamicCache(config=base.config)}
        base(input_ids=torch.tensor([rows[0].ids[:prefix]], device=device), use_cache=True, **past)
    ends = torch.tensor(pack.queries.tolist()[1:], device=device) - 1
    with logits_at(base, torch.zeros_like(ends), ends):
        return base(**pack.inputs(), use_cache=bool(past), **past).logits[0]  # type: ignore[no-any-return]
