"""Rows one behind the other in one sequence, against every row by itself: here attention runs row by row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AutoModelForCausalLM, Gemma2Config, MistralConfig, Qwen2Config, Qwen3Config

from star_engine.config.lora import Lora
from star_engine.config.star import Training
from star_engine.gpu.training import packed_rows
from star_engine.gpu.training.batch_plan import packed_parts, plan_apart, plan_batch
from star_engine.gpu.training.frozen_head import plain_head
from star_engine.gpu.training.lean_lora import use_lean_forward
from star_engine.gpu.training.lora_run import LoraRun, Ranks
from star_engine.gpu.training.packed_rows import Pack, start_packing
from star_engine.gpu.training.tokenized_rows import TokenizedRow
from tests.star_engine.gpu.training.test_shared_prefix import (
    ROWS,
    adapted,
    assert_same,
    gradients,
    naive,
    on_all,
    on_completions,
    with_masked_spans,
    with_others,
)

CPU = torch.device("cpu")
SIZES = {
    "vocab_size": 96,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}


def packed_run(model: Any) -> LoraRun:
    """As on CUDA, but for its kernel. A rate of almost 0, no clipping: a step leaves the gradients behind."""
    training = Training(learning_rate=1e-30, max_grad_norm=1e9, lora=Lora(rank=4, alpha=8))
    run = LoraRun(model, training, 0, CPU, Ranks())
    assert not run.packed
    run.packed = start_packing(model.get_base_model())
    assert run.packed
    return run


def with_two_tokens(rows: Sequence[TokenizedRow]) -> list[TokenizedRow]:
    return [*rows, TokenizedRow((5, 0), 1), TokenizedRow((9, 0), 1)]


def of_two_rows(rows: Sequence[TokenizedRow]) -> list[TokenizedRow]:
    """A part of one row behind the prefix, where parts are small."""
    return list(rows[:2])


@pytest.mark.parametrize("token_limit", [4096, 200])
@pytest.mark.parametrize(
    "change", [on_completions, on_all, with_others, with_masked_spans, with_two_tokens, of_two_rows]
)
def test_packed_rows_have_the_loss_and_the_gradients_of_the_naive_way(
    tiny_model: Path, token_limit: int, change: Callable[[Sequence[TokenizedRow]], Any]
) -> None:
    rows = change(ROWS)
    expected = naive(adapted(tiny_model), rows)
    model = adapted(tiny_model)
    use_lean_forward(model)
    run = packed_run(model)
    assert run.plan is plan_batch
    assert_same((run.learn(rows, token_limit).loss, gradients(model)), expected)


@pytest.mark.parametrize("prepare", ["chunks", "checkpoints"])
def test_packed_rows_agree_with_the_loss_in_chunks_and_checkpointed_layers(
    tiny_model: Path, prepare: str
) -> None:
    expected = naive(adapted(tiny_model), ROWS)
    model = adapted(tiny_model)
    run = packed_run(model)
    if prepare == "chunks":
        run.head = plain_head(model.get_base_model())
        assert run.head is not None
    else:
        assert run.checkpoint_layers()
        assert run.plan is plan_apart
    assert_same((run.learn(ROWS, 4096).loss, gradients(model)), expected)


def small(config: Any) -> Any:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").requires_grad_(False).eval()


def test_a_row_is_not_touched_by_those_beside_it(tiny_model: Path) -> None:
    base = adapted(tiny_model).get_base_model()
    assert start_packing(base)
    rows = [TokenizedRow(tuple(range(3, 20)), 1), TokenizedRow(tuple(range(20, 41)), 1)]
    others = [TokenizedRow(tuple(reversed(rows[0].ids)), 1), rows[1]]
    with torch.no_grad():
        one, other = (
            base(**Pack.of(each, 0, CPU).inputs(), use_cache=False).logits for each in (rows, others)
        )
    assert not torch.equal(one[0, :16], other[0, :16])
    assert torch.equal(one[0, 16:], other[0, 16:])


def test_a_sliding_window_slides_in_each_row() -> None:
    """Rows of 30 tokens, which a window of 8 cuts off, and others around them."""
    config = MistralConfig(**SIZES, sliding_window=8)
    rows = [TokenizedRow(tuple((11 * n + k) % 90 for n in range(30)), 1) for k in range(3)]
    base = small(config)
    with torch.no_grad():
        alone = [base(input_ids=torch.tensor([row.ids[:-1]]), use_cache=False).logits[0] for row in rows]
        assert start_packing(base)
        packed = base(**Pack.of(rows, 0, CPU).inputs(), use_cache=False).logits[0]
    torch.testing.assert_close(packed, torch.cat(alone), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", [Qwen2Config, Qwen3Config])
def test_families_that_are_offered_can_be_packed(family: Any) -> None:
    rows = [TokenizedRow(tuple((n * k) % 90 for n in range(4, 20)), 1) for k in (3, 7)]
    one, other = (
        peft.get_peft_model(
            small(family(**SIZES)), peft.LoraConfig(task_type="CAUSAL_LM", r=4, init_lora_weights=False)
        )
        for _ in range(2)
    )
    run = packed_run(one)
    assert start_packing(one.get_base_model()), "and again, for the next training"
    assert_same((run.learn(rows, 64).loss, gradients(one)), naive(other, rows))


def documented_varlen_attn(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cu_seq_q: torch.Tensor,
    cu_seq_k: torch.Tensor,
    max_q: int,
    max_k: int,
    *,
    scale: float | None,
    window_size: tuple[int, int],
    enable_gqa: bool,
) -> torch.Tensor:
    """What its documentation says of (tokens, heads, width): the last query of a row sees its last key."""
    rows = []
    for ends in zip(cu_seq_q[:-1], cu_seq_q[1:], cu_seq_k[:-1], cu_seq_k[1:], strict=True):
        q0, q1, k0, k1 = map(int, ends)
        assert (q1 - q0 <= max_q, k1 - k0 <= max_k, enable_gqa) == (True, True, True)
        behind = torch.arange(k1 - k0 - (q1 - q0), k1 - k0)[:, None] - torch.arange(k1 - k0)
        left, right = window_size
        seen = (behind >= -right) & (
            (behind <= left) if left >= 0 else torch.ones_like(behind, dtype=torch.bool)
        )
        own, keys, values = (one.transpose(0, 1)[None] for one in (query[q0:q1], key[k0:k1], value[k0:k1]))
        out = scaled_dot_product_attention(own, keys, values, attn_mask=seen, scale=scale, enable_gqa=True)
        rows.append(out[0].transpose(0, 1))
    return torch.cat(rows)


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("prefix", [0, 5])
def test_the_kernel_for_rows_of_any_lengths_is_asked_for_what_rows_see(
    monkeypatch: pytest.MonkeyPatch, prefix: int, window: int | None
) -> None:
    """It runs on CUDA alone: here what its documentation says takes its place."""
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", documented_varlen_attn)
    rows = [TokenizedRow(tuple(range(prefix + length)), 1) for length in (9, 3, 12)]
    pack = Pack.of(rows, prefix, CPU)
    query = torch.randn(1, 4, sum(pack.lengths), 8)
    key, value = torch.randn(2, 1, 2, int(pack.keys[-1]), 8)
    asked = (query, key, value, pack, 0.3, window)
    torch.testing.assert_close(packed_rows._by_one_kernel(*asked), packed_rows._row_by_row(*asked))


def test_models_with_a_soft_cap_or_an_attention_that_is_not_told_are_padded(tiny_model: Path) -> None:
    capped = AutoModelForCausalLM.from_config(Gemma2Config(**SIZES), attn_implementation="eager").eval()
    assert not start_packing(capped)
    assert capped.config._attn_implementation == "eager"
    deaf = adapted(tiny_model).get_base_model()
    forward = deaf.model.forward

    def without_pack(*given: Any, pack: Any = None, **named: Any) -> Any:
        del pack
        return forward(*given, **named)

    deaf.model.forward = without_pack
    assert not start_packing(deaf)
    assert deaf.config._attn_implementation == "sdpa"


def test_a_model_that_packed_once_computes_padded_rows_as_before(tiny_model: Path) -> None:
    rows = on_completions(ROWS)
    expected = naive(adapted(tiny_model), rows)
    model = adapted(tiny_model)
    run = packed_run(model)
    run.packed = False
    assert_same((run.learn(rows, 4096).loss, gradients(model)), expected)


def test_parts_are_filled_without_padding_and_hold_every_row_once() -> None:
    rows = [TokenizedRow(tuple(range(length)), 1) for length in (90, 60, 50, 40, 10, 5)]
    parts = packed_parts(rows, 100)
    assert [[len(row.ids) for row in part] for part in parts] == [[90, 10], [60, 40], [50, 5]]
    assert [len(part) for part in packed_parts(rows, 1)] == [1] * 6
    behind = packed_parts(rows[:3], 130, 40)  # weights 55, 25, 15 beside the prefix of 40
    assert [[len(row.ids) for row in part] for part in behind] == [[90, 60], [50]]


def test_prefix_and_rows_run_once_and_nothing_else(tiny_model: Path) -> None:
    model = adapted(tiny_model)
    seen: list[int] = []
    model.get_base_model().model.register_forward_pre_hook(
        lambda _, __, given: seen.append(given["input_ids"].numel()), with_kwargs=True
    )
    run = packed_run(model)
    seen.clear()
    run.learn(ROWS, 4096)
    prefix = plan_batch(ROWS, 4096)[0].prefix
    assert prefix > 100
    assert sum(seen) == prefix + sum(len(row.ids) - 1 - prefix for row in ROWS)
