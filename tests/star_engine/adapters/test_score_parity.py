"""Scores decide where greedy texts part: roundings pass, an adapter that is not applied does not."""

from __future__ import annotations

import pytest

from star_engine.adapters.score_parity import judge_scores
from star_engine.protocols import BadAdapter, Score


def scores(*logprobs: float) -> list[Score]:
    return [Score("0", logprobs[:2]), Score("1", logprobs[2:])]


PEFT = scores(-0.1, -0.2, -0.3)
BASE = scores(-1.1, -1.2, -0.9)


def test_roundings_pass_and_the_difference_is_a_mean_of_tokens() -> None:
    assert judge_scores(PEFT, scores(-0.13, -0.2, -0.33)[::-1], BASE, "adapter") == pytest.approx(0.02)


def test_scores_that_are_apart_are_refused() -> None:
    with pytest.raises(BadAdapter, match=r"differently: by 0\.200 nats"):
        judge_scores(PEFT, scores(-0.3, -0.4, -0.5), BASE, "adapter")


def test_an_adapter_that_the_sampler_does_not_apply_is_refused() -> None:
    near = scores(-0.2, -0.32, -0.42)  # of a weak adapter: within the tolerance even without it
    with pytest.raises(BadAdapter, match="does not apply the adapter"):
        judge_scores(PEFT, scores(-0.19, -0.3, -0.39), near, "adapter")


def test_a_weak_adapter_must_move_the_samplers_scores_as_well() -> None:
    weak = scores(-0.14, -0.24, -0.34)
    assert judge_scores(PEFT, scores(-0.12, -0.22, -0.32), weak, "adapter") == pytest.approx(0.02)
    with pytest.raises(BadAdapter, match="does not apply the adapter"):
        judge_scores(PEFT, weak, weak, "adapter")
