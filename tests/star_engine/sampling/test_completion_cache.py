from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from star_engine.config.star import StarConfig
from star_engine.protocols import SampleRequest, SamplingParams
from star_engine.sampling.completion_cache import Recorded, ReusingPlan, model_sha256, request_sha256
from star_engine.sampling.rationales import Rationale, Route, plan_tries
from star_engine.tasks.kind import Kind
from star_engine.testing.fakes import ScriptedSampler
from tests.star_engine.addition import ADDITION, additions

BASE = {"model.safetensors": "1" * 64}
MODEL = model_sha256(BASE, None)
REQUEST = SampleRequest("a", "1 + 1", seed=7)
GREEDY = SamplingParams(max_tokens=64, stop=("\nInput:",))
WARM = replace(GREEDY, temperature=0.7, top_p=0.9, top_k=40)


def test_key_is_the_same_for_what_answers_the_same() -> None:
    assert request_sha256(MODEL, REQUEST, GREEDY) == request_sha256(
        model_sha256(dict(BASE), None),
        replace(REQUEST, key="b", seed=None),
        replace(GREEDY, top_p=0.5, top_k=3),
    )


@pytest.mark.parametrize(
    ("request_", "params"),
    [
        (replace(REQUEST, prompt="1 + 2"), WARM),
        (replace(REQUEST, seed=8), WARM),
        (REQUEST, replace(WARM, temperature=0.8)),
        (REQUEST, replace(WARM, top_p=1.0)),
        (REQUEST, replace(WARM, top_k=0)),
        (REQUEST, replace(WARM, max_tokens=65)),
        (REQUEST, replace(WARM, stop=())),
        (replace(REQUEST, max_tokens=65), WARM),
        (replace(REQUEST, stop=()), WARM),
        (REQUEST, GREEDY),
    ],
)
def test_key_differs_with_whatever_the_answer_depends_on(
    request_: SampleRequest, params: SamplingParams
) -> None:
    assert request_sha256(MODEL, request_, params) != request_sha256(MODEL, REQUEST, WARM)


def test_key_of_a_request_without_limits_of_its_own_is_what_it_always_was() -> None:
    """Answers on record are found by these keys: a change of one would ask the model all of it again."""
    assert request_sha256(MODEL, REQUEST, GREEDY) == (
        "7afcc9f76d26f0f2336046433ff7573f762902d79d2b23d11ff25a1b1ce83ae3"
    )
    assert request_sha256(MODEL, REQUEST, WARM) == (
        "d254fdac10aebbbc87281ba9f025792c6ebc74e6c01f6e417040f720a9ec05d1"
    )


@pytest.mark.parametrize("params", [GREEDY, WARM])
def test_key_is_that_of_what_is_decoded_wherever_it_is_said(params: SamplingParams) -> None:
    own = replace(REQUEST, max_tokens=12, stop=("\n",))
    assert request_sha256(MODEL, own, params) != request_sha256(MODEL, REQUEST, params)
    said_by_the_call = replace(params, max_tokens=12, stop=("\n",))
    assert request_sha256(MODEL, own, params) == request_sha256(MODEL, REQUEST, said_by_the_call)


def test_key_differs_between_models_and_adapters() -> None:
    models = [
        model_sha256(BASE, None),
        model_sha256({"model.safetensors": "2" * 64}, None),
        model_sha256(BASE, {"adapter_model.safetensors": "3" * 64}),
        model_sha256(BASE, {"adapter_model.safetensors": "4" * 64}),
    ]
    assert len({request_sha256(model, REQUEST, GREEDY) for model in models}) == len(models)


def test_what_would_be_answered_anew_each_time_has_no_key() -> None:
    assert request_sha256(MODEL, replace(REQUEST, seed=None), WARM) is None
    assert request_sha256(model_sha256({}, None), REQUEST, GREEDY) is None


CONFIG = StarConfig(kind=Kind.SCRATCHPAD)
EXAMPLES = additions((1, 2), 4)


def answers(record: Mapping[str, Recorded], sampler: ScriptedSampler | None) -> list[Rationale]:
    """Every try at the examples, of a plan that looks its requests up in this record."""
    plan = plan_tries(CONFIG, ADDITION, EXAMPLES, 1, {})
    reusing = ReusingPlan(plan, MODEL, lambda keys: {key: record[key] for key in keys if key in record})
    tries = list(reusing.look_up())
    assert sampler is not None or not reusing.queue, "somebody must be asked"
    for completion in sampler.stream(reusing.queue, reusing.params) if sampler else ():
        tries.append(reusing.finish(completion))
        tries += reusing.look_up()
    return [one for one in tries if one is not None]


def on_record(tries: Sequence[Rationale]) -> dict[str, Recorded]:
    return {
        item.request_sha256: Recorded(item.text, item.prompt_tokens, item.tokens, item.finish_reason)
        for item in tries
        if item.request_sha256 is not None
    }


def stumbling() -> ScriptedSampler:
    """Knows no sum, and repeats the hint: every example is generated, then rationalized."""
    return ScriptedSampler(lambda request, _: f"<scratch>\n</scratch>\n{request.prompt[-9:]}\nInput:\n9 + 9")


def by_key(tries: Sequence[Rationale]) -> dict[object, Rationale]:
    return {item.key: replace(item, reused=False) for item in tries}


def test_second_time_nothing_is_sampled_and_the_same_is_recorded() -> None:
    first = answers({}, stumbling())
    assert not any(item.reused for item in first)
    assert {item.key.route for item in first} == {Route.GENERATED, Route.RATIONALIZED}
    again = answers(on_record(first), None)
    assert all(item.reused for item in again)
    assert by_key(again) == by_key(first)


def test_only_what_is_missing_is_sampled() -> None:
    first = answers({}, stumbling())
    half = on_record([item for item in first if item.key.route is Route.GENERATED][1:])
    asked = stumbling()
    again = answers(half, asked)
    assert by_key(again) == by_key(first)
    assert len(asked.requests) == len(first) - len(half) == sum(not item.reused for item in again)
