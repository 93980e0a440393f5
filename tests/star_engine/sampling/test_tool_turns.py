"""Texts that call a tool in turns, on a real interpreter."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from star_engine.config.star import StarConfig
from star_engine.protocols import Completion, Part, SampleRequest, SamplingParams
from star_engine.sampling.rationales import Rationale, Route, sample_rationales
from star_engine.sampling.tool_turns import called, cut_middle, without_stops
from star_engine.tasks.examples import Example, FewShotExample, PromptSet
from star_engine.tasks.kind import Kind
from star_engine.tasks.programs.execution import SandboxFailed, using_runner
from star_engine.tasks.programs.tool_use import tool_use_from
from star_engine.testing.fakes import ScriptedSampler, count_words
from star_engine.training_set.outcomes import outcomes_of
from star_engine.training_set.regrade import Regrading
from star_engine.training_set.rows import HintLeak, audit_hints, build, decide, training_fields
from worker.sandbox.monty import MontyRunner

PROMPTS = PromptSet(Kind.NUMERIC, (FewShotExample("How many clips?", "72 clips.\n#### 72", "72"),))
QUESTION = Example("e0", "What is 17 times 23?", "391")
CALL = " Let me compute.\n```python\nprint(17 * 23)\n```\n"


@pytest.fixture(autouse=True, scope="module")
def runner() -> Iterator[None]:
    with closing(MontyRunner(1)) as runner, using_runner(runner):
        yield


def config(**more: Any) -> StarConfig:
    settings: dict[str, Any] = {
        "kind": Kind.NUMERIC,
        "rationalization": {"enabled": False},
        "tools": {"python": {"max_calls": 2, **more.pop("python", {})}},
    }
    return StarConfig.model_validate(settings | more)


class Turns:
    """A script that says its turns one after the other, whatever it is asked."""

    def __init__(self, *turns: str) -> None:
        self.turns, self.prompts = list(turns), list[str]()

    def __call__(self, request: SampleRequest, _adapter: Path | None) -> str:
        self.prompts.append(request.prompt.rpartition("\nA:")[2])
        return self.turns.pop(0) if self.turns else ""


def tries(script: Turns, settings: StarConfig, *, iteration: int = 1) -> list[Rationale]:
    return list(sample_rationales(ScriptedSampler(script), settings, PROMPTS, [QUESTION], iteration, {}))


def test_a_block_is_executed_and_the_text_goes_on_behind_its_output() -> None:
    script = Turns(CALL, "So it is 391.\n#### 391")
    [made] = tries(script, config())
    said = "Let me compute.\n```python\nprint(17 * 23)\n```\n```output\n391\n```\nSo it is 391.\n#### 391"
    assert (made.text, made.verdict) == (said, "correct")
    assert script.prompts[1] == " " + said.partition("So it")[0]
    assert made.tools is not None
    [(start, end, origin)] = made.tools.spans
    assert (made.text[start:end], origin) == ("```output\n391\n```\n", "output")
    assert (made.tools.calls, made.tools.failed) == (1, 0)
    assert made.tokens == count_words(CALL) - 1 + count_words("So it is 391.\n#### 391")  # without the fence


def test_calls_follow_one_another_and_what_failed_before_is_left_out() -> None:
    first = "```python\nx = 17\nprint('seen once')\n```\n"
    failing = "```python\nx = y\n```\n"
    script = Turns(first, failing, "```python\nprint(x * 23)\n```\n", "#### 391")
    [made] = tries(script, config(python={"max_calls": 3}))
    assert made.verdict == "correct"
    assert made.tools is not None
    assert (made.tools.calls, made.tools.failed) == (3, 1)
    outputs = [made.text[start:end] for start, end in made.tools.of("output")]
    assert outputs[0] == "```output\nseen once\n```\n"
    assert "NameError" in outputs[1]
    assert outputs[2] == "```output\n391\n```\n"


def test_one_call_too_many_ends_the_text_as_cut_off() -> None:
    [made] = tries(Turns(CALL, CALL, CALL, "#### 391"), config())
    assert made.tools is not None
    assert made.tools.limit
    assert made.tools.calls == 2
    assert (made.verdict, made.finish_reason) == ("unparsed", "length")


def test_the_limit_on_tokens_is_one_for_the_whole_text() -> None:
    settings = config(generation={"max_tokens": 12})
    script = Turns(CALL, "and so on " * 30)
    [made] = tries(script, settings)
    assert made.finish_reason == "length"
    assert count_words(made.text) <= 12 + 1


def test_an_answer_that_only_the_tool_has_said_is_none() -> None:
    [made] = tries(Turns("```python\nprint(chr(35) * 4, 17 * 23)\n```\n", ""), config())
    assert (made.verdict, made.rule) == ("unparsed", "answer_by_the_tool")


def test_other_blocks_are_no_calls() -> None:
    script = Turns("```\n", "17 * 23\n```\n", "#### 391")
    [made] = tries(script, config())
    assert made.tools is not None
    assert made.tools.calls == 0
    assert made.verdict == "correct"
    assert called("```python\nprint(1)\n```\n", "python") == "print(1)\n"
    assert called("```python\nprint(1)\n```\n", "run") is None
    assert called("```python\nprint(1)\n```\nand\n```\n", "python") is None


def test_without_a_runner_no_verdict_is_made_up() -> None:
    with using_runner(None), pytest.raises(SandboxFailed):
        tries(Turns(CALL), config())


def test_a_long_output_keeps_its_head_and_its_tail() -> None:
    assert cut_middle("a" * 50 + "b" * 50, 25) == "a" * 10 + "\n...\n" + "b" * 10
    [made] = tries(
        Turns("```python\nprint('x' * 500)\n```\n", "#### 391"), config(python={"output_chars": 40})
    )
    assert made.tools is not None
    [(start, end)] = made.tools.of("output")
    assert "x\n...\nx" in made.text[start:end]
    assert end - start < 80


def test_a_stop_in_an_output_ends_no_text() -> None:
    script = Turns("```python\nprint('Q: 391')\n```\n", "So it is 391.\n#### 391")
    [made] = tries(script, config())
    assert (made.verdict, made.finish_reason) == ("correct", "stop")
    assert "\n Q: 391\n" in made.text
    assert without_stops("a\n\n\nb", ["\n\n"]) == "a\n \n \nb"
    assert without_stops("Q: 1\nend", ["\nQ:", "d\n"]) == " Q: 1\nend "


HINTS = {"groups": ["calculation"], "tries": 1}


def hinted(**more: Any) -> StarConfig:
    return config(hints={**HINTS, **more})


def test_a_hint_stands_before_the_answer_and_its_iteration_trains_on_nothing_else() -> None:
    wrong = "17 times 23 is about 400.\n#### 400"
    script = Turns(wrong, wrong, "print(17 * 23)\n```\n", "#### 391")
    unhinted, made = tries(script, hinted())
    assert (unhinted.key.route, unhinted.verdict) == (Route.GENERATED, "wrong")
    assert (made.key.route, made.verdict) == (Route.HINTED, "correct")
    assert made.tools is not None
    assert (made.tools.hint or "").startswith("calculation/")
    begin, end = made.tools.of("hint")[0]
    assert made.text[:begin] == "17 times 23 is about 400."
    assert made.text[begin:end].endswith("\n```python\n")
    assert made.text.count("####") == 1


class Spelling(ScriptedSampler):
    """Says of each text that goes on that its tokens are odd ones, and notes what it is asked."""

    def stream(self, queue: deque[SampleRequest], params: SamplingParams) -> Iterator[Completion]:
        for made in super().stream(queue, params):
            yield replace(made, ids=(len(self.requests), 7) if self.requests[-1].continued else None)


def test_a_turn_goes_on_from_the_tokens_before_it_and_its_row_is_made_of_them() -> None:
    sampler = Spelling(Turns(CALL, "So it is 391.\n#### 391"))
    [made] = sample_rationales(sampler, config(), PROMPTS, [QUESTION], 1, {})
    first, second = sampler.requests
    output = "```output\n391\n```\n"
    assert first.parts == ()
    assert second.parts == (Part(CALL, (1, 7)), Part(output, plain=True))
    assert second.prompt == first.prompt + CALL + output
    assert made.tools is not None
    assert tool_use_from(json.loads(json.dumps(made.tools.as_json()))) == made.tools
    at = len(CALL) - 1  # the text is stored without the space before it
    assert made.tools.turns == ((-1, (1, 7)), (at, None), (at + len(output), (2, 7)))
    [row] = build(config(), PROMPTS, [QUESTION], [made], decide(config(), PROMPTS, [QUESTION], [made]))
    assert row.turns == ((0, (1, 7)), (at + 1, None), (at + 1 + len(output), (2, 7)))
    assert training_fields(row)["turns"][0] == [0, [1, 7]]
    audit_hints(config(), PROMPTS, [QUESTION], [made], [row])
    with pytest.raises(HintLeak, match="turns in which it was written"):
        audit_hints(config(), PROMPTS, [QUESTION], [made], [replace(row, turns=())])


def test_rows_mask_hints_and_outputs_and_say_so() -> None:
    wrong = "17 times 23 is about 400.\n#### 400"
    settings = hinted()
    found = tries(Turns(wrong, wrong, "print(17 * 23)\n```\n", "#### 391"), settings)
    decisions = decide(settings, PROMPTS, [QUESTION], found)
    [row] = build(settings, PROMPTS, [QUESTION], found, decisions)
    masked = "".join(row.completion[start:end] for start, end, _ in row.masked)
    assert [who for _, _, who in row.masked] == ["hint", "output"]
    assert masked.endswith("```python\n```output\n391\n```\n")
    assert "17 times 23 is about" not in masked
    assert "print(17 * 23)" not in masked
    assert training_fields(row)["masked"] == [list(span) for span in row.masked]
    audit_hints(settings, PROMPTS, [QUESTION], found, [row])
    with pytest.raises(HintLeak, match="does not mask"):
        audit_hints(settings, PROMPTS, [QUESTION], found, [replace(row, masked=row.masked[1:])])


def test_a_hint_that_is_learned_is_not_masked() -> None:
    wrong = "17 times 23 is about 400.\n#### 400"
    settings = hinted(masked=False)
    found = tries(Turns(wrong, wrong, "print(17 * 23)\n```\n", "#### 391"), settings)
    [row] = build(settings, PROMPTS, [QUESTION], found, decide(settings, PROMPTS, [QUESTION], found))
    assert [who for _, _, who in row.masked] == ["output"]


def test_what_was_right_without_a_hint_is_not_trained_on_beside_hinted_tries() -> None:
    right = "It is 391.\n#### 391"
    found = tries(Turns("#### 1", "#### 1", "print(17 * 23)\n```\n", "#### 391"), hinted())
    other = Example("e1", QUESTION.question, "391")
    also = list(sample_rationales(ScriptedSampler(Turns(right)), hinted(), PROMPTS, [other], 1, {}))
    decided = decide(hinted(), PROMPTS, [QUESTION, other], [*found, *also])
    assert [(one.key.example_id, one.reason) for one in decided] == [
        ("e0", "wrong"),
        ("e0", "kept"),
        ("e1", "unhinted"),
    ]


def test_a_hint_can_stand_at_the_start_or_where_a_word_is_said() -> None:
    script = Turns("#### 1", "print(17 * 23)\n```\n", "#### 391")
    _, made = tries(script, hinted(insert="start"))
    assert made.verdict == "correct"
    assert made.tools is not None
    assert made.tools.of("hint")[0][0] == 0
    script = Turns("#### 1", "It is 400. Wait, no.\n#### 400", "print(17 * 23)\n```\n", "#### 391")
    _, made = tries(script, hinted(insert="after_words", words=["Wait"]))
    assert made.verdict == "correct"
    assert made.text.startswith("It is 400.\n")
    assert "Wait, no" not in made.text


@pytest.mark.parametrize("most", [40, 256])
def test_a_hint_at_the_start_counts_in_the_limit_and_never_leaves_less_than_a_token(most: int) -> None:
    asked = list[int]()

    def script(request: SampleRequest, _adapter: Path | None) -> str:
        asked.append(request.max_tokens or 0)
        if request.key.startswith("generated"):
            return "#### 1"
        return "print(17 * 23)\n```\n" if request.prompt.endswith("```python\n") else "#### 391"

    settings = config(hints={**HINTS, "insert": "start"}, generation={"max_tokens": most})
    list(sample_rationales(ScriptedSampler(script), settings, PROMPTS, [QUESTION], 1, {}))
    assert asked == sorted(asked, reverse=True)
    assert asked[1:] == ([1] if most == 40 else asked[1:])
    assert len(asked) == (2 if most == 40 else 3)


def test_parts_of_a_hinted_iteration_are_regraded_as_the_whole_was_decided() -> None:
    solved = Example("e1", QUESTION.question, "391")
    settings = hinted()
    failed = tries(Turns("#### 1", "#### 1", "print(17 * 23)\n```\n", "#### 391"), settings)
    right = Turns("17 times 23 is 340 and 51, so it is 391.\n#### 391")
    whole = list(sample_rationales(ScriptedSampler(right), settings, PROMPTS, [solved], 1, {}))
    decisions = decide(settings, PROMPTS, [QUESTION, solved], [*failed, *whole])
    reasons = {one.key: one.reason for one in decisions}
    assert [*reasons.values()] == ["wrong", "kept", "unhinted"]
    found = Regrading(settings, settings, PROMPTS, hinted=True)
    for example, parts in ((QUESTION, failed), (solved, whole)):
        assert list(found.add([example], [(one, reasons[one.key]) for one in parts])) == []
    assert found.kept == {"hinted": 1}
    outcomes = outcomes_of(settings, PROMPTS, [solved], whole, hinted=True)
    outcomes |= outcomes_of(settings, PROMPTS, [QUESTION], failed, hinted=True)
    assert (outcomes["e1"].right, outcomes["e1"].rows) == (1, 0)
    assert (outcomes["e0"].hinted, outcomes["e0"].hinted_right, outcomes["e0"].rows) == (1, 1, 1)


def test_later_iterations_have_no_hint() -> None:
    assert [one.key.route for one in tries(Turns("#### 1"), hinted(), iteration=2)] == [Route.GENERATED]


def test_the_hint_of_a_try_follows_from_the_seed() -> None:
    def names(seed: int) -> list[str | None]:
        settings = hinted(groups=["general", "calculation", "check"]).model_copy(update={"seed": seed})
        examples = [Example(f"e{n}", "What is 17 times 23?", "391") for n in range(8)]
        sampler = ScriptedSampler(lambda _request, _adapter: "#### 1")
        found = sample_rationales(sampler, settings, PROMPTS, examples, 1, {})
        by_id = sorted(
            (one for one in found if one.tools), key=lambda one: (one.key.example_id, one.key.route)
        )
        return [one.tools.hint for one in by_id if one.tools]

    assert names(3) == names(3) != names(4)


TWICE = {"generation": {"samples_per_example": 2, "temperature": 0.7}}


@pytest.mark.parametrize(
    ("settings", "fix"),
    [
        ({"hints": {}}, "tools.python"),
        ({"tools": {"python": {}}, "hints": {}, "rationalization": {"enabled": True}}, "rationalization"),
        ({"tools": {"python": {}}, "training_set": {"checks": ["hint_free"]}}, "without calling a tool"),
        ({"tools": {"python": {}}, "training_set": {"source": "solutions"}}, "nothing else is sampled"),
        ({"tools": {"python": {}}, "trained_verifier": {}}, '"yes_no", which learns its judgement alone'),
        ({**TWICE, "tools": {"python": {}}, "preference": {}}, "both texts of a pair are learned whole"),
        ({"tools": {"python": {}}, "self_distillation": {}}, "self_distillation must be null"),
        ({"tools": {"python": {}}, "hints": {"groups": []}}, "no hint to draw"),
    ],
)
def test_settings_that_do_not_go_together_say_the_fix(settings: dict[str, Any], fix: str) -> None:
    base: dict[str, Any] = {"kind": "numeric", "rationalization": {"enabled": False}}
    with pytest.raises(ValueError, match=fix):
        StarConfig.model_validate(base | settings)
