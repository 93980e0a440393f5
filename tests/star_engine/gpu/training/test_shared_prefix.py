"""Loss and gradients of a batch whose rows share a prefix, against every row by itself, no lever used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import MistralConfig, Qwen2Config

from star_engine.config.lora import Lora
from star_engine.config.star import Training
from star_engine.gpu.causal_lm import load_model
from star_engine.gpu.training.batch_plan import plan_apart, plan_batch
from star_engine.gpu.training.lean_lora import use_lean_forward
from star_engine.gpu.training.lora_run import LoraRun, Ranks
from star_engine.gpu.training.shared_prefix import can_share
from star_engine.gpu.training.tokenized_rows import TokenizedRow

PREFIX = [(7 * n) % 40 + 3 for n in range(150)]
ROWS = [
    TokenizedRow((*PREFIX, *((n * k) % 40 + 3 for k in range(1, 6 + 4 * n)), 0), len(PREFIX) + 3)
    for n in range(1, 7)
]


def adapted(model: Path, targets: Any = "all-linear") -> Any:
    """The model under an adapter that already does something: B is not zero, so that A has a gradient."""
    base = load_model(model, dtype=torch.float32, device="cpu")
    config = peft.LoraConfig(
        task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules=targets, init_lora_weights=False
    )
    torch.manual_seed(1)
    return peft.get_peft_model(base, config).eval()


def gradients(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}


def naive(model: Any, rows: Sequence[TokenizedRow]) -> tuple[float, dict[str, torch.Tensor]]:
    """Mean loss over the tokens that count, and its gradients: one row after another, all logits."""
    losses = []
    for row in rows:
        labels = [-100 if at in row.masked else row.ids[at] for at in range(row.start, len(row.ids))]
        logits = model(input_ids=torch.tensor([row.ids])).logits[0, row.start - 1 : -1]
        losses.append(cross_entropy(logits, torch.tensor(labels), ignore_index=-100, reduction="sum"))
    loss = torch.stack(losses).sum() / sum(row.loss_tokens for row in rows)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.item(), gradients(model)


def ours(
    model: Any, rows: Sequence[TokenizedRow], *, token_limit: int = 4096, dropout: float = 0.0
) -> tuple[float, dict[str, torch.Tensor]]:
    """The same from LoraRun. A rate of almost 0 and no clipping: a step leaves the gradients behind."""
    training = Training(learning_rate=1e-30, max_grad_norm=1e9, lora=Lora(rank=4, alpha=8, dropout=dropout))
    run = LoraRun(model, training, 0, torch.device("cpu"), Ranks())
    loss = run.learn(rows, token_limit).loss
    return loss, gradients(model)


def assert_same(
    one: tuple[float, dict[str, torch.Tensor]], other: tuple[float, dict[str, torch.Tensor]]
) -> None:
    assert one[0] == pytest.approx(other[0], rel=1e-6)
    assert one[1].keys() == other[1].keys()
    for name, gradient in other[1].items():
        torch.testing.assert_close(one[1][name], gradient, rtol=1e-4, atol=1e-5 * gradient.abs().max().item())


def on_completions(rows: Sequence[TokenizedRow]) -> list[TokenizedRow]:
    return list(rows)


def on_all(rows: Sequence[TokenizedRow]) -> list[TokenizedRow]:
    return [TokenizedRow(row.ids, 1) for row in rows]


def with_equal_rows(rows: Sequence[TokenizedRow]) -> list[TokenizedRow]:
    """The same row twice in a batch, as at the end of an epoch, and one question with two rationales."""
    longest = rows[-1]
    return [*rows, longest, TokenizedRow((*longest.ids[:-4], 5, 6, 0), longest.start)]


def with_others(rows: Sequence[TokenizedRow]) -> list[TokenizedRow]:
    """Some rows of another prefix, and some of none."""
    turned = [TokenizedRow((*reversed(row.ids[:150]), *row.ids[150:]), row.start) for row in rows[:3]]
    return [*rows, *turned, TokenizedRow(tuple(range(20, 40)), 8)]


def with_masked_spans(rows: Sequence[TokenizedRow]) -> list[TokenizedRow]:
    """Behind the prefix, and in it: rows with the prefix in common mask other parts of it, and one none."""
    masks = [{20 + n, 21 + n, len(PREFIX) + n} for n in range(1, len(rows))]
    return [
        TokenizedRow(row.ids, 9, frozenset(mask)) for row, mask in zip(rows, [set(), *masks], strict=True)
    ]


@pytest.mark.parametrize("token_limit", [4096, 200])  # 200: a part of every row
@pytest.mark.parametrize("change", [on_completions, on_all, with_equal_rows, with_others, with_masked_spans])
@pytest.mark.parametrize("lean", [True, False])
def test_a_shared_prefix_has_the_loss_and_the_gradients_of_the_naive_way(
    tiny_model: Path, token_limit: int, change: Callable[[Sequence[TokenizedRow]], Any], lean: bool
) -> None:
    rows = change(ROWS)
    expected = naive(adapted(tiny_model), rows)
    model = adapted(tiny_model)
    if lean:
        use_lean_forward(model)
    assert plan_batch(rows, token_limit)[0].prefix > 100
    assert_same(ours(model, rows, token_limit=token_limit), expected)


@pytest.mark.parametrize("targets", [["q_proj", "v_proj"], ["down_proj"]])
def test_adapters_on_some_layers_only_have_the_naive_gradients(tiny_model: Path, targets: list[str]) -> None:
    """Keys and values of the first layer then have no gradient at all."""
    model = adapted(tiny_model, targets)
    use_lean_forward(model)
    assert_same(ours(model, ROWS), naive(adapted(tiny_model, targets), ROWS))


def test_the_prefix_runs_through_the_model_once(tiny_model: Path) -> None:
    model = adapted(tiny_model)
    seen: list[int] = []
    layers = model.get_base_model().model
    layers.register_forward_pre_hook(
        lambda _, __, given: seen.append(given["input_ids"].numel()), with_kwargs=True
    )
    ours(model, ROWS, token_limit=200)
    own = sum(len(row.ids) - 1 - len(PREFIX) for row in ROWS)
    assert len(PREFIX) + own <= sum(seen) + 1 < len(PREFIX) + own + 2 * len(ROWS)


def test_dropout_is_drawn_for_every_row(tiny_model: Path) -> None:
    training = Training(lora=Lora(rank=4, alpha=8, dropout=0.1))
    run = LoraRun(adapted(tiny_model), training, 0, torch.device("cpu"), Ranks())
    assert run.plan is plan_apart


def test_models_with_a_sliding_window_run_the_prefix_with_every_row() -> None:
    assert can_share(Qwen2Config(num_hidden_layers=2))
    assert can_share(MistralConfig(num_hidden_layers=2, sliding_window=None))
    assert not can_share(MistralConfig(num_hidden_layers=2, sliding_window=64))
