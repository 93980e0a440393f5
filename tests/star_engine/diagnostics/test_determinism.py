"""Tries that are made a second time, in the call that makes all others."""

from __future__ import annotations

from star_engine.config.star import StarConfig
from star_engine.diagnostics.determinism import TwicePlan, drawn_again, grade_determinism
from star_engine.sampling.completion_cache import Recorded, ReusingPlan, model_sha256
from star_engine.sampling.rationales import Rationale, plan_tries
from star_engine.tasks.kind import Kind
from star_engine.testing.fakes import ScriptedSampler, addition_pupil
from tests.star_engine.addition import ADDITION, additions

CONFIG = StarConfig(kind=Kind.SCRATCHPAD)
EXAMPLES = additions((1, 2), 6)
MODEL = model_sha256({"model.safetensors": "1" * 64}, None)


def ask_twice(record: dict[str, Recorded]) -> tuple[TwicePlan, list[Rationale], list[str]]:
    """The plan once all is answered, its tries, and the keys of what the sampler was asked."""
    plan = TwicePlan(plan_tries(CONFIG, ADDITION, EXAMPLES, 1, {}), drawn_again(CONFIG, 1, EXAMPLES))
    sampler = ScriptedSampler(addition_pupil(), batch=4, order="shuffled")
    reusing = ReusingPlan(plan, MODEL, lambda keys: {key: record[key] for key in keys if key in record})
    found = list(reusing.look_up())
    for completion in sampler.stream(reusing.queue, reusing.params):
        found.append(reusing.finish(completion))
        found += reusing.look_up()
    return plan, [one for one in found if one is not None], [request.key for request in sampler.requests]


def test_the_second_time_runs_among_the_other_tries_and_is_no_try_of_its_own() -> None:
    plan, tries, asked = ask_twice({})
    again = [number for number, key in enumerate(asked) if key.startswith("again/")]
    assert len(again) == CONFIG.audits.determinism
    assert again[0] == len(EXAMPLES)  # behind all that is asked at first
    assert len({one.key for one in tries}) == len(tries) == len(asked) - len(again)
    assert grade_determinism(plan.answers, {one.key: one for one in tries})["grade"] == "exact"


def test_the_second_time_is_generated_even_where_all_tries_are_on_record() -> None:
    _, tries, _ = ask_twice({})
    record = {
        str(one.request_sha256): Recorded(one.text, one.prompt_tokens, one.tokens, one.finish_reason)
        for one in tries
    }
    plan, reused, asked = ask_twice(record)
    assert all(one.reused for one in reused)
    assert len(asked) == len(plan.answers) == CONFIG.audits.determinism
