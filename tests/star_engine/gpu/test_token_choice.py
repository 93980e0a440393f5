"""From logits and one uniform draw to a token."""

from __future__ import annotations

import torch

from star_engine.gpu.token_choice import choose
from star_engine.protocols import SamplingParams

LOGITS = torch.tensor([[1.0, 4.0, 2.0, 3.0]])  # likeliest first: 1, 3, 2, 0


def tokens_of(params: SamplingParams, count: int = 2000) -> dict[int, float]:
    """Share of each token over evenly spread draws."""
    draws = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    chosen = choose(LOGITS.expand(count, -1), params, draws)
    return {token: (chosen == token).double().mean().item() for token in set(chosen.tolist())}


def test_temperature_zero_takes_the_likeliest_token() -> None:
    assert choose(LOGITS, SamplingParams(), None).tolist() == [1]


def test_tokens_are_drawn_with_the_softmax_of_the_logits_over_the_temperature() -> None:
    expected = (LOGITS[0].double() / 0.7).softmax(-1)
    for token, share in tokens_of(SamplingParams(temperature=0.7)).items():
        assert abs(share - expected[token].item()) < 1e-3


def test_top_k_leaves_the_k_likeliest_tokens_in_their_proportion() -> None:
    shares = tokens_of(SamplingParams(temperature=1.0, top_k=2))
    assert set(shares) == {1, 3}
    assert abs(shares[1] / shares[3] - torch.e) < 0.02


def test_top_p_leaves_the_smallest_set_that_holds_the_probability() -> None:
    assert set(tokens_of(SamplingParams(temperature=1.0, top_p=0.6))) == {1}  # alone it has 0.64
    assert set(tokens_of(SamplingParams(temperature=1.0, top_p=0.7))) == {1, 3}


def test_the_largest_draw_still_gives_a_token_of_the_nucleus() -> None:
    draw = torch.tensor([1 - 2**-53], dtype=torch.float64)
    assert choose(LOGITS, SamplingParams(temperature=1.0, top_p=0.7), draw).tolist() == [3]
    assert choose(LOGITS, SamplingParams(temperature=1.0), draw).tolist() == [0]
