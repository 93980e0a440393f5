"""Plans that share a call of the sampler get what each would get in a call of its own."""

from __future__ import annotations

from typing import Any

import pytest

from star_engine.config.star import StarConfig
from star_engine.evaluation.accuracy import EvaluationMode, EvaluationPlan, evaluate, plan_answers
from star_engine.sampling.rationales import Route, SamplingPlan, plan_tries, sample_rationales
from star_engine.sampling.shared_calls import share_call
from star_engine.tasks.kind import Kind
from star_engine.testing.fakes import ScriptedSampler, addition_pupil
from tests.star_engine.addition import ADDITION, additions

TRAIN = additions((1, 2, 3), 8)
HELD_OUT = additions((1, 2), 6, seed=5)
MODE = EvaluationMode.ADAPTER


def config(**generation: Any) -> StarConfig:
    return StarConfig.model_validate({"kind": Kind.SCRATCHPAD, "generation": generation})


def plans(settings: StarConfig) -> tuple[EvaluationPlan, SamplingPlan]:
    held_out = plan_answers(settings, ADDITION, HELD_OUT, MODE, 1, set())
    return held_out, plan_tries(settings, ADDITION, TRAIN, 2, {})


def test_a_shared_call_gives_each_plan_what_a_call_of_its_own_does() -> None:
    settings = config(top_p=0.9)  # which greedy decoding does not read
    sampler = ScriptedSampler(addition_pupil(), batch=8, order="shuffled")
    found = list(share_call(sampler, plans(settings)))
    alone = ScriptedSampler(addition_pupil(), batch=8)
    answers = list(evaluate(alone, settings, ADDITION, HELD_OUT, MODE, 1, set()))
    tries = list(sample_rationales(alone, settings, ADDITION, TRAIN, 2, {}))
    assert sorted((item for number, item in found if number == 0), key=lambda one: one.example_id) == sorted(
        answers, key=lambda one: one.example_id
    )
    assert sorted((item for number, item in found if number == 1), key=lambda one: one.key.example_id) == (
        sorted(tries, key=lambda one: one.key.example_id)
    )
    assert {one.key.route for one in tries} == {Route.GENERATED, Route.RATIONALIZED}


def test_the_rows_that_one_plan_leaves_free_are_filled_by_the_next() -> None:
    sampler = ScriptedSampler(addition_pupil(), batch=8)
    order = [number for number, _ in share_call(sampler, plans(config()))]
    assert order[: len(HELD_OUT)] == [0] * len(HELD_OUT)  # first come, first served
    started = [request.key.partition(":")[0] for request in sampler.requests]
    assert started.index("1") == len(HELD_OUT)
    assert sampler.largest_batch == 8


def test_plans_that_decode_differently_are_refused() -> None:
    sampler = ScriptedSampler(addition_pupil())
    with pytest.raises(ValueError, match="decode differently"):
        list(share_call(sampler, plans(config(temperature=0.7))))
    assert sampler.requests == []
