"""The filters that cost samples: what is asked, what counts as passed, how precise they are."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from star_engine.config.star import StarConfig
from star_engine.config.training_set import TrainingSetOptions
from star_engine.protocols import Sampler, SampleRequest
from star_engine.sampling.rationales import Rationale, RationaleKey, Route
from star_engine.sampling.shared_calls import share_call
from star_engine.tasks.examples import Example, FewShotExample, PromptSet
from star_engine.tasks.kind import Kind
from star_engine.testing.fakes import Script, ScriptedSampler
from star_engine.training_set.resample_filters import (
    CheckPlan,
    before_the_answer,
    permuted,
    plan_checks,
    to_check,
)
from star_engine.training_set.rows import decide

CHOICES = ("inkwell", "blotter", "pocket", "desk")
INK = Example("ink", "What absorbs ink?", "b", CHOICES)
CLIPS = Example("clips", "She sold 48 clips in April and half as many in May. How many?", "72")
NUMERIC = PromptSet(Kind.NUMERIC, (FewShotExample("What is 2 + 2?", "2 + 2 = 4.\n#### 4", "4"),))
CHOICE = PromptSet(Kind.CHOICE, ())


def answered(sampler: Sampler, plan: CheckPlan) -> dict[RationaleKey, dict[str, bool]]:
    return dict(item for _, item in share_call(sampler, [plan]) if item is not None)


def config(kind: Kind, *checks: str, **options: object) -> StarConfig:
    settings = {"checks": checks, "filters": (), **options}
    return StarConfig(kind=kind, training_set=TrainingSetOptions.model_validate(settings))


def tried(example: Example, text: str, route: Route = Route.RATIONALIZED, sample: int = 0) -> Rationale:
    key = RationaleKey(example.id, route, sample)
    return Rationale(key, text, "correct", None, "", 1, 1, "stop")


def checked(
    script: Script,
    settings: StarConfig,
    prompt_set: PromptSet,
    examples: Sequence[Example],
    *tries: Rationale,
) -> tuple[dict[RationaleKey, dict[str, bool]], list[SampleRequest]]:
    sampler = ScriptedSampler(script, batch=3, order="shuffled")
    by_id = {example.id: example for example in examples}
    found = answered(sampler, plan_checks(settings, prompt_set, 1, by_id, tries))
    return found, sampler.requests


@pytest.mark.parametrize(
    ("example", "kind", "text", "before"),
    [
        (CLIPS, Kind.NUMERIC, "Half is 24, and 48 + 24 = 72.\n#### 72", "Half is 24, and 48 + 24 = 72."),
        (CLIPS, Kind.NUMERIC, "Half is 24. The answer is 72.", "Half is 24."),
        (CLIPS, Kind.NUMERIC, "#### 72", ""),
        (INK, Kind.CHOICE, "Blotters drink. Therefore, the answer is blotter (b).", "Blotters drink."),
        (INK, Kind.CHOICE, "Therefore, the answer is blotter (b).", ""),
        (
            Example("sum", "2 + 5", "7"),
            Kind.SCRATCHPAD,
            "<scratch>\n2 + 5 , C: 0\n0 7\n</scratch>\n7",
            "<scratch>\n2 + 5 , C: 0\n0 7\n</scratch>",
        ),
    ],
)
def test_a_rationale_is_cut_before_the_sentence_or_line_that_states_its_answer(
    example: Example, kind: Kind, text: str, before: str
) -> None:
    assert before_the_answer(config(kind), example, text) == before


def last_number(request: SampleRequest, _: Path | None) -> str:
    """A reader that follows the rationale before it to the letter."""
    said = request.prompt.rpartition("\nA:")[2]
    return f"\n#### {re.findall(r'[0-9]+', said)[-1]}" if re.search("[0-9]", said) else "\nI cannot say."


def test_a_rationale_that_does_not_lead_to_its_answer_fails_without_the_hint() -> None:
    leads = tried(CLIPS, "Half of 48 is 24, and 48 + 24 = 72.\n#### 72")
    asserts = tried(CLIPS, "She sold 48 and then 24 more.\n#### 72", sample=1)
    found, requests = checked(
        last_number, config(Kind.NUMERIC, "hint_free"), NUMERIC, [CLIPS], leads, asserts
    )
    assert found == {leads.key: {"hint_free": True}, asserts.key: {"hint_free": False}}
    for request in requests:
        assert "(72)" not in request.prompt
        assert request.prompt.startswith("Q: What is 2 + 2?\nA: 2 + 2 = 4.\n#### 4\n\nQ: She sold")
        assert request.seed is None


def test_the_generated_have_no_hint_to_be_free_of_and_other_kinds_no_choices() -> None:
    settings = config(Kind.NUMERIC, "hint_free", "permuted_choices")
    generated = tried(CLIPS, "#### 72", Route.GENERATED)
    assert checked(last_number, settings, NUMERIC, [CLIPS], generated) == ({}, [])
    assert to_check(settings, NUMERIC, [CLIPS], [generated]) == []


def test_permuting_moves_every_choice_and_the_right_label_with_its_text() -> None:
    settings = config(Kind.CHOICE)
    for number in range(30):
        turned = permuted(settings, Example(f"e{number}", "?", "b", CHOICES))
        assert sorted(turned.choices or ()) == sorted(CHOICES)
        assert all(one != other for one, other in zip(turned.choices or (), CHOICES, strict=True))
        assert (turned.choices or ())[ord(turned.answer) - ord("a")] == "blotter"
    assert permuted(settings, Example("x", "?", "a", ("only",))).answer == "a"


def choices_in(prompt: str) -> Iterator[tuple[str, str]]:
    return iter(re.findall(r"^\(([a-z])\) (\w+)", prompt.rpartition("Q: ")[2], re.MULTILINE))


def test_a_model_that_answers_by_position_is_told_from_one_that_answers_by_content() -> None:
    """40 labelled examples: half are answered (b) whatever stands there, half by what stands there."""
    examples = [Example(f"e{n}", f"What absorbs ink number {n}?", "b", CHOICES) for n in range(40)]
    by_position = {f"e{n}" for n in range(0, 40, 2)}

    def answer(request: SampleRequest, _: Path | None) -> str:
        text = {text: letter for letter, text in choices_in(request.prompt)}
        letter = "b" if request.key.rpartition("/")[2] in by_position else text["blotter"]
        return f" Ink is drunk up. Therefore, the answer is ({letter})."

    tries = [tried(e, "Therefore, the answer is (b).", Route.GENERATED) for e in examples]
    found, _ = checked(answer, config(Kind.CHOICE, "permuted_choices"), CHOICE, examples, *tries)
    rejected = {key.example_id for key, results in found.items() if not results["permuted_choices"]}
    assert rejected == by_position


def test_both_checks_of_a_rationale_come_together_and_only_once() -> None:
    def stubborn(request: SampleRequest, _: Path | None) -> str:
        return " Therefore, the answer is blotter (b)."

    settings = config(Kind.CHOICE, "hint_free", "permuted_choices")
    one = tried(INK, "Blotters drink. Therefore, the answer is blotter (b).")
    found, requests = checked(stubborn, settings, CHOICE, [INK], one)
    assert len(requests) == 2
    assert found[one.key]["hint_free"] is True
    assert found[one.key]["permuted_choices"] is False


def test_failed_checks_drop_with_their_reason_and_a_missing_check_is_never_taken_for_passed() -> None:
    settings = config(Kind.NUMERIC, "hint_free")
    one = tried(CLIPS, "Half is 24.\n#### 72")
    for results, reason in (({"hint_free": True}, "kept"), ({"hint_free": False}, "hint_needed")):
        [decision] = decide(settings, NUMERIC, [CLIPS], [replace(one, checks=results)])
        assert (decision.reason, decision.kept) == (reason, reason == "kept")
    with pytest.raises(ValueError, match="'clips' was not checked: hint_free"):
        decide(settings, NUMERIC, [CLIPS], [one])


def test_only_what_cheaper_filters_keep_is_checked() -> None:
    settings = config(Kind.NUMERIC, "hint_free", filters=("answer_only",), max_per_example=1)
    good = tried(CLIPS, "Half of 48 is 24, and 48 + 24 = 72.\n#### 72")
    same, bare = replace(good, key=replace(good.key, sample=1)), tried(CLIPS, "#### 72", sample=2)
    wrong = replace(tried(CLIPS, "Half is 20.\n#### 68", sample=3), verdict="wrong")
    other = tried(CLIPS, "48 and its half, 24, are 72 clips.\n#### 72", sample=4)
    tries = [good, same, bare, wrong, other]
    assert to_check(settings, NUMERIC, [CLIPS], tries) == [good, other]
    assert to_check(settings, NUMERIC, [CLIPS], [replace(good, checks={"hint_free": True}), other]) == [other]
