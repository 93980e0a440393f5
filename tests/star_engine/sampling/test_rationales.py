from collections.abc import Callable
from pathlib import Path

import pytest

from star_engine.config.star import Generation, Rationalization, StarConfig
from star_engine.data.prompts import render_prompt
from star_engine.protocols import Completion, SampleRequest
from star_engine.sampling.rationales import (
    Rationale,
    RationaleKey,
    Route,
    rationale_prompt,
    sample_rationales,
    solved_examples,
)
from star_engine.tasks.examples import Example, FewShotExample, PromptSet
from star_engine.tasks.kind import Kind
from star_engine.testing.fakes import Order, ScriptedSampler

PROMPTS = PromptSet(Kind.NUMERIC, (FewShotExample("How many clips?", "72 clips.\n#### 72", "72"),))
EXAMPLES = [Example(f"e{n}", f"What is {n} and {n}?", str(2 * n)) for n in range(10)]


def config(
    generation: Generation = Generation(),
    rationalization: Rationalization = Rationalization(),
) -> StarConfig:
    return StarConfig(kind=Kind.NUMERIC, generation=generation, rationalization=rationalization)


def answers(right: Callable[[int], bool], hinted_right: Callable[[int], bool]) -> Callable[..., str]:
    """A script that knows some sums without a hint and some with it."""

    def script(request: SampleRequest, _adapter: Path | None) -> str:
        question = request.prompt.rsplit("Q: What is ", 1)[1]
        n = int(question.split(" ", 1)[0])
        able = hinted_right(n) if "(" in question else right(n)
        return f" It is so.\n#### {2 * n if able else 99}\n\nQ: And now?"

    return script


def keys(found: list[Rationale]) -> set[tuple[str, str, int]]:
    return {(r.key.example_id, str(r.key.route), r.key.sample) for r in found}


@pytest.mark.parametrize("order", ["first", "last", "shuffled"])
@pytest.mark.parametrize("batch", [1, 3, 100])
def test_every_failure_and_nothing_else_is_rationalized(order: Order, batch: int) -> None:
    script = answers(right=lambda n: n % 2 == 0, hinted_right=lambda n: n != 7)
    sampler = ScriptedSampler(script, batch=batch, order=order)
    found = list(sample_rationales(sampler, config(), PROMPTS, EXAMPLES, 1, {}))
    generated = {(f"e{n}", "generated", 0) for n in range(10)}
    assert keys(found) == generated | {(f"e{n}", "rationalized", 0) for n in (1, 3, 5, 7, 9)}
    assert len(found) == 15
    wrong = {r.key.example_id for r in found if r.key.route is Route.RATIONALIZED and r.verdict == "wrong"}
    assert wrong == {"e7"}
    assert len(solved_examples(found)) == len(EXAMPLES) / 2


def test_a_failure_joins_the_running_batch_without_a_barrier() -> None:
    sampler = ScriptedSampler(answers(lambda n: n > 0, lambda _: True), batch=2)
    stream = sample_rationales(sampler, config(), PROMPTS, EXAMPLES, 1, {})
    assert next(stream).key == RationaleKey("e0", Route.GENERATED, 0)
    rest = [r.key for r in stream]
    assert len(sampler.requests) == 11
    assert sampler.largest_batch == 2
    assert RationaleKey("e0", Route.RATIONALIZED, 0) in rest


def test_the_queue_grows_while_others_still_run() -> None:
    sampler = ScriptedSampler(answers(lambda n: n > 0, lambda _: True), batch=10)
    list(sample_rationales(sampler, config(), PROMPTS, EXAMPLES, 1, {}))
    assert sampler.largest_batch == 10
    assert [r.key for r in sampler.requests][10] == "rationalized/0/e0"  # joined as soon as a place was free


def test_the_text_is_cut_at_the_first_stop_and_carries_no_outer_space() -> None:
    sampler = ScriptedSampler({_prompt(EXAMPLES[3]): "  Three twice.\n#### 6\n\nQ: What is 4 and 4?\nA: 8"})
    (found,) = sample_rationales(sampler, config(), PROMPTS, EXAMPLES[3:4], 1, {})
    assert found.text == "Three twice.\n#### 6"
    assert (found.verdict, found.extracted, found.finish_reason) == ("correct", "6", "stop")
    assert found.prompt_tokens > 0
    assert found.tokens == 5


def _prompt(example: Example) -> str:
    return render_prompt(Kind.NUMERIC, PROMPTS, example)


def test_several_samples_rationalize_only_when_all_of_them_failed() -> None:
    sampled = config(Generation(samples_per_example=3, temperature=0.7))

    def script(request: SampleRequest, _adapter: Path | None) -> str:
        right = "(" in request.prompt.rsplit("Q:", 1)[1] or request.key == "generated/2/e1"
        return " #### 2" if right else " #### 3"

    found = list(sample_rationales(ScriptedSampler(script), sampled, PROMPTS, EXAMPLES[1:3], 1, {}))
    rationalized = [r.key.example_id for r in found if r.key.route is Route.RATIONALIZED]
    assert rationalized == ["e2"]
    assert len(found) == 7


def test_a_resumed_step_asks_only_for_what_is_missing() -> None:
    script = answers(right=lambda n: n % 2 == 0, hinted_right=lambda _: True)
    whole = list(sample_rationales(ScriptedSampler(script), config(), PROMPTS, EXAMPLES, 1, {}))
    for recorded_first in range(len(whole) + 1):
        recorded = {r.key: r.verdict for r in whole[:recorded_first]}
        again = ScriptedSampler(script, order="last")
        found = list(sample_rationales(again, config(), PROMPTS, EXAMPLES, 1, recorded))
        assert len(again.requests) == len(whole) - recorded_first
        assert {r.key for r in found} == {r.key for r in whole[recorded_first:]}


def test_a_recorded_failure_still_gets_its_missing_rationalization() -> None:
    recorded = {RationaleKey(f"e{n}", Route.GENERATED, 0): "wrong" for n in range(10)}
    recorded[RationaleKey("e4", Route.GENERATED, 0)] = "correct"
    recorded[RationaleKey("e5", Route.RATIONALIZED, 0)] = "unparsed"
    sampler = ScriptedSampler(answers(lambda _: False, lambda _: True))
    found = list(sample_rationales(sampler, config(), PROMPTS, EXAMPLES, 1, recorded))
    expected = [f"e{n}" for n in range(10) if n not in (4, 5)]
    assert [r.key.example_id for r in found] == expected
    assert all(r.key.route is Route.RATIONALIZED for r in found)


def test_rationalization_is_off_on_or_decided_by_the_dice_of_the_seed() -> None:
    def rationalized(probability: float, enabled: bool = True, iteration: int = 1) -> list[str]:
        setting = config(rationalization=Rationalization(enabled=enabled, probability=probability))
        many = [Example(f"m{n}", f"What is {n} and {n}?", str(2 * n)) for n in range(200)]
        sampler = ScriptedSampler(answers(lambda _: False, lambda _: True), order="shuffled")
        found = sample_rationales(sampler, setting, PROMPTS, many, iteration, {})
        return sorted(r.key.example_id for r in found if r.key.route is Route.RATIONALIZED)

    assert rationalized(1.0, enabled=False) == []
    assert rationalized(0.0) == []
    assert len(rationalized(1.0)) == 200
    some = rationalized(0.3)
    assert 35 <= len(some) <= 85
    assert some == rationalized(0.3)
    assert some != rationalized(0.3, iteration=2)


def test_few_shot_examples_may_be_shown_in_the_first_iteration_only() -> None:
    setting = config(Generation(few_shot="first_iteration"), Rationalization(few_shot="always"))
    example = EXAMPLES[2]
    shown = [
        "How many clips?" in rationale_prompt(setting, PROMPTS, example, route, iteration)
        for route in (Route.GENERATED, Route.RATIONALIZED)
        for iteration in (1, 2)
    ]
    assert shown == [True, False, True, True]
    hinted = rationale_prompt(setting, PROMPTS, example, Route.RATIONALIZED, 2)
    assert hinted.endswith("Q: What is 2 and 2? (4)\nA:")


def test_few_shot_examples_may_be_shown_until_a_given_iteration() -> None:
    setting = config(Generation(few_shot=2), Rationalization(few_shot=3))
    shown = {
        route: [
            "How many clips?" in rationale_prompt(setting, PROMPTS, EXAMPLES[2], route, iteration)
            for iteration in (1, 2, 3, 4)
        ]
        for route in (Route.GENERATED, Route.RATIONALIZED)
    }
    assert shown[Route.GENERATED] == [True, True, False, False]
    assert shown[Route.RATIONALIZED] == [True, True, True, False]
    assert StarConfig.model_validate_json(setting.model_dump_json()) == setting


@pytest.mark.parametrize("nonsense", [0, True, "3", "never"])
def test_a_few_shot_setting_that_means_nothing_is_refused(nonsense: object) -> None:
    with pytest.raises(ValueError, match="few_shot"):
        Generation.model_validate({"few_shot": nonsense})


def test_the_hinted_prompt_follows_the_jobs_hint_template() -> None:
    setting = config(rationalization=Rationalization(hint_template="{question} [{answer}]"))
    hinted = rationale_prompt(setting, PROMPTS, EXAMPLES[2], Route.RATIONALIZED, 1)
    assert hinted.startswith("Q: How many clips? [72]\nA:")
    assert hinted.endswith("Q: What is 2 and 2? [4]\nA:")
    assert "[" not in rationale_prompt(setting, PROMPTS, EXAMPLES[2], Route.GENERATED, 1)


def test_only_sampling_with_a_temperature_carries_seeds() -> None:
    greedy, warm = (
        ScriptedSampler(answers(lambda _: True, lambda _: True)),
        ScriptedSampler(answers(lambda _: True, lambda _: True)),
    )
    list(sample_rationales(greedy, config(), PROMPTS, EXAMPLES, 1, {}))
    hot = config(Generation(temperature=1.0, samples_per_example=2))
    list(sample_rationales(warm, hot, PROMPTS, EXAMPLES, 1, {}))
    assert {request.seed for request in greedy.requests} == {None}
    assert len({request.seed for request in warm.requests}) == 20


def test_a_verifier_that_fails_is_a_verdict_and_not_an_exception() -> None:
    bad_gold = Example("bad", "What is 1 and 1?", "no number")
    sampler = ScriptedSampler(answers(lambda _: True, lambda _: True))
    found = list(sample_rationales(sampler, config(), PROMPTS, [bad_gold], 1, {}))
    assert [r.verdict for r in found] == ["error", "error"]
    choice = StarConfig(kind=Kind.CHOICE)
    no_choices = Example("none", "Which is 1 and 1?", "a")
    sampler = ScriptedSampler(lambda *_: " The answer is (a).")
    found = list(sample_rationales(sampler, choice, PromptSet(Kind.CHOICE, ()), [no_choices], 1, {}))
    assert {r.verdict for r in found} == {"error"}


@pytest.mark.parametrize(
    ("text", "max_tokens", "verdict", "finish_reason"),
    [
        (" Twice three.\n#### 6", 50, "correct", "stop"),
        (" Twice three.\n#### 6 7 8", 4, "unparsed", "length"),  # "#### 6" may be the start of 67
        (" Twice three, which is six or so", 3, "unparsed", "length"),
        (" Twice three.\n#### 6\nThat is it, I would say", 6, "correct", "length"),
    ],
)
def test_an_answer_that_the_token_limit_may_have_cut_is_not_trusted(
    text: str, max_tokens: int, verdict: str, finish_reason: str
) -> None:
    setting = config(Generation(max_tokens=max_tokens), Rationalization(enabled=False))
    (found,) = sample_rationales(
        ScriptedSampler({_prompt(EXAMPLES[3]): text}), setting, PROMPTS, EXAMPLES[3:4], 1, {}
    )
    assert (found.verdict, found.finish_reason) == (verdict, finish_reason)


def test_a_nul_character_never_reaches_the_ledger() -> None:
    sampler = ScriptedSampler({_prompt(EXAMPLES[3]): " Odd \x00 text.\n#### 6"})
    (found,) = sample_rationales(sampler, config(), PROMPTS, EXAMPLES[3:4], 1, {})
    assert found.text == "Odd \ufffd text.\n#### 6"


def test_a_sampler_that_runs_past_a_stop_is_not_truncated() -> None:
    class Runaway(ScriptedSampler):
        def _complete(self, request: SampleRequest, params: object) -> Completion:
            return Completion(request.key, " Six.\n#### 6\n\nQ: What is 8", 5, 9, "length")

    (found,) = sample_rationales(Runaway({}), config(), PROMPTS, EXAMPLES[3:4], 1, {})
    assert (found.verdict, found.finish_reason, found.text) == ("correct", "stop", "Six.\n#### 6")
