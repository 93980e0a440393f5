import os
import re
from pathlib import Path

import pytest

from star_engine.config.star import Rationalization, StarConfig
from star_engine.data.prompt_sets import read_prompt_set
from star_engine.data.prompts import hint_text, render_completion, render_prompt, stops
from star_engine.tasks.examples import Example, FewShotExample, PromptSet
from star_engine.tasks.kind import Kind

PEN = Example(
    id="pen",
    question="What do people use to absorb extra ink from a fountain pen?",
    answer="c",
    choices=("shirt pocket", "inkwell", "blotter"),
)
CABLE = FewShotExample(
    question="What home entertainment equipment requires cable?",
    rationale="The answer must require cable. Therefore, the answer is television (b).",
    answer="b",
    choices=("desk", "television"),
)
CLIPS = FewShotExample("How many clips?", "48+24 = <<48+24=72>>72 clips.\n#### 72", "72")
SUM = FewShotExample(
    "6 2 4 + 2 5 9",
    "<scratch>\n6 2 4 + 2 5 9 , C: 0\n</scratch>\n8 8 3",
    "8 8 3",
    group="3",
)
CHOICE = PromptSet(Kind.CHOICE, (CABLE,))
NUMERIC = PromptSet(Kind.NUMERIC, (CLIPS,))
SCRATCHPAD = PromptSet(Kind.SCRATCHPAD, (SUM,))


def test_choice_prompt_is_laid_out_as_in_the_paper() -> None:
    assert render_prompt(Kind.CHOICE, CHOICE, PEN) == (
        "Q: What home entertainment equipment requires cable?\n"
        "Answer Choices:\n(a) desk\n(b) television\n"
        "A: The answer must require cable. Therefore, the answer is television (b).\n\n"
        "Q: What do people use to absorb extra ink from a fountain pen?\n"
        "Answer Choices:\n(a) shirt pocket\n(b) inkwell\n(c) blotter\nA:"
    )


def test_choice_hint_marks_the_right_choice_in_few_shot_examples_too() -> None:
    prompt = render_prompt(Kind.CHOICE, CHOICE, PEN, hint=True)
    assert [line for line in prompt.split("\n") if "CORRECT" in line] == [
        "(b) television (CORRECT)",
        "(c) blotter (CORRECT)",
    ]


def test_numeric_prompt_and_hint_are_laid_out_as_in_the_paper() -> None:
    example = Example("n", "How many pages?", "42")
    shown = "\nA: 48+24 = <<48+24=72>>72 clips.\n#### 72\n\nQ: How many pages?"
    assert render_prompt(Kind.NUMERIC, NUMERIC, example) == f"Q: How many clips?{shown}\nA:"
    hinted = render_prompt(Kind.NUMERIC, NUMERIC, example, hint=True)
    assert hinted == f"Q: How many clips? (72){shown} (42)\nA:"


def test_scratchpad_prompt_and_hint_are_laid_out_as_in_the_paper() -> None:
    example = Example("s", "1 2 3 + 4 5 6", "5 7 9", group="3")
    shown = "<scratch>\n6 2 4 + 2 5 9 , C: 0\n</scratch>\n8 8 3\n\nInput:\n1 2 3 + 4 5 6\nTarget:"
    assert render_prompt(Kind.SCRATCHPAD, SCRATCHPAD, example) == f"Input:\n6 2 4 + 2 5 9\nTarget:\n{shown}"
    hinted = render_prompt(Kind.SCRATCHPAD, SCRATCHPAD, example, hint=True)
    assert hinted == f"Input:\n6 2 4 + 2 5 9\nTarget: 8 8 3\n{shown} 5 7 9"


def test_direct_prompts_show_answers_without_rationale() -> None:
    assert "A: (b).\n\n" in render_prompt(Kind.CHOICE, CHOICE, PEN, direct=True)
    assert "A: 72\n\n" in render_prompt(Kind.NUMERIC, NUMERIC, Example("n", "x?", "1"), direct=True)
    example = Example("s", "1 + 1", "2", group="3")
    assert "Target:\n8 8 3\n\n" in render_prompt(Kind.SCRATCHPAD, SCRATCHPAD, example, direct=True)


def test_a_direct_prompt_with_a_hint_is_refused() -> None:
    with pytest.raises(ValueError, match="no hint"):
        render_prompt(Kind.CHOICE, CHOICE, PEN, hint=True, direct=True)


def test_without_few_shot_only_the_question_stands() -> None:
    prompt = render_prompt(Kind.CHOICE, CHOICE, PEN, few_shot=False)
    assert prompt.startswith("Q: What do people use")


def test_only_few_shot_examples_of_the_own_group_are_shown() -> None:
    example = Example("s", "1 + 1", "2", group="1")
    assert render_prompt(Kind.SCRATCHPAD, SCRATCHPAD, example) == "Input:\n1 + 1\nTarget:"
    ungrouped = PromptSet(Kind.SCRATCHPAD, (SUM, FewShotExample("2 + 2", "<scratch>\n</scratch>\n4", "4")))
    assert "2 + 2" in render_prompt(Kind.SCRATCHPAD, ungrouped, example)
    assert "6 2 4" not in render_prompt(Kind.SCRATCHPAD, ungrouped, example)


def test_a_few_shot_example_never_asks_the_examples_own_question() -> None:
    asked = Example("same", "how  many CLIPS?", "72")
    assert render_prompt(Kind.NUMERIC, NUMERIC, asked) == "Q: how  many CLIPS?\nA:"


def test_prompts_end_without_white_space_and_completions_begin_with_it() -> None:
    for kind, prompt_set, shown in (
        (Kind.CHOICE, CHOICE, CABLE),
        (Kind.NUMERIC, NUMERIC, CLIPS),
        (Kind.SCRATCHPAD, SCRATCHPAD, SUM),
    ):
        example = Example("x", f"{shown.question}?", shown.answer, shown.choices, shown.group)
        prompt = render_prompt(kind, prompt_set, example)
        completion = render_completion(kind, shown.rationale)
        assert prompt == prompt.rstrip()
        assert completion[0].isspace()
        assert not completion[1].isspace()
        assert completion in prompt


def test_the_hint_text_is_what_the_hint_adds() -> None:
    cases = (
        (Kind.CHOICE, CHOICE, PEN),
        (Kind.NUMERIC, NUMERIC, Example("n", "How many?", "1,080")),
        (Kind.SCRATCHPAD, SCRATCHPAD, Example("s", "1 + 1", "2")),
    )
    for kind, prompt_set, example in cases:
        plain = render_prompt(kind, prompt_set, example, few_shot=False)
        hinted = render_prompt(kind, prompt_set, example, few_shot=False, hint=True)
        assert hinted.replace(f" {hint_text(kind, example)}", "") == plain


def test_the_hint_may_stand_after_the_question_in_every_kind() -> None:
    template = Rationalization.model_validate({"hint": "after_question"}).template
    cases = (
        (Kind.CHOICE, CHOICE, PEN, "fountain pen? (c)\nAnswer", "requires cable? (b)\n"),
        (Kind.NUMERIC, NUMERIC, Example("n", "How many?", "42"), "How many? (42)\nA:", "clips? (72)\n"),
        (
            Kind.SCRATCHPAD,
            SCRATCHPAD,
            Example("s", "1 + 1", "2", group="3"),
            "1 + 1 (2)\nTarget:",
            "(8 8 3)\n",
        ),
    )
    for kind, prompt_set, example, asked, shown in cases:
        prompt = render_prompt(kind, prompt_set, example, hint=True, hint_template=template)
        assert asked in prompt
        assert shown in prompt
        assert "CORRECT" not in prompt
        assert "Target: " not in prompt
        plain = render_prompt(kind, prompt_set, example)
        assert render_prompt(kind, prompt_set, example, hint_template=template) == plain
        hint = hint_text(kind, example, template)
        assert hint == f"({example.answer})"
        assert hint not in plain.rpartition("\n\n")[2].replace(f"\n{hint} ", "\n")


def test_the_papers_hint_form_of_a_kind_is_its_default() -> None:
    for hint in ("mark_on_choice", "after_target"):
        assert Rationalization.model_validate({"hint": hint}).template is None
    example = Example("n", "How many pages?", "42")
    asked = render_prompt(Kind.NUMERIC, NUMERIC, example, hint=True, hint_template="{question} ({answer})")
    assert asked == render_prompt(Kind.NUMERIC, NUMERIC, example, hint=True)


def test_an_own_hint_template_is_filled_in_where_the_question_stands() -> None:
    template = "{question}\n[It is {answer}.]"
    example = Example("n", "Is {answer} or {question} in braces?", "42")
    prompt = render_prompt(Kind.NUMERIC, NUMERIC, example, hint=True, few_shot=False, hint_template=template)
    assert prompt == "Q: Is {answer} or {question} in braces?\n[It is 42.]\nA:"
    assert hint_text(Kind.NUMERIC, example, template) == "[It is 42.]"


@pytest.mark.parametrize(
    ("template", "fix"),
    [
        ("It is {answer}.", "lacks {question}; write it once, where what is asked belongs"),
        ("{question}", "lacks {answer}; write it once, where the hint belongs"),
        ("{question} {answer} {answer}", "repeats {answer}"),
        ("{question} {answer} {solution}", "no value for {solution}; use {question} and {answer}"),
        ("{question}\n\n{answer}", "remove those"),
        ("{question} {answer} ", "outer white space"),
    ],
)
def test_a_hint_template_that_cannot_work_is_refused_with_the_mend(template: str, fix: str) -> None:
    with pytest.raises(ValueError, match=re.escape(fix)):
        Rationalization(hint_template=template)


def test_a_hint_form_that_does_not_fit_is_refused_with_those_that_do() -> None:
    with pytest.raises(ValueError, match="use mark_on_choice or after_question or full_solution"):
        StarConfig.model_validate({"kind": "choice", "rationalization": {"hint": "after_target"}})
    with pytest.raises(ValueError, match="set one of them to null"):
        Rationalization.model_validate({"hint": "after_question", "hint_template": "{question} {answer}"})


def test_every_kind_stops_at_its_own_next_block_first() -> None:
    assert stops(Kind.SCRATCHPAD)[0] == "\nInput:"
    assert stops(Kind.NUMERIC)[0] == stops(Kind.CHOICE)[0] == "\nQ:"


def _published(name: str) -> str:
    folder = os.environ.get("STAR_TEST_DATA")
    if not folder or not (Path(folder) / name).exists():
        pytest.skip(f"{name} is not here: set STAR_TEST_DATA to a folder with the published prompts")
    return (Path(folder) / name).read_text(encoding="utf-8").strip()


@pytest.mark.parametrize(
    ("name", "hinted", "kind", "count"),
    [
        ("commonsenseqa_prompts.txt", "commonsenseqa_prompts_hint.txt", Kind.CHOICE, 7),
        ("gsm8k_prompts.txt", None, Kind.NUMERIC, 6),
    ],
)
def test_published_prompts_are_rendered_byte_for_byte(
    name: str, hinted: str | None, kind: Kind, count: int
) -> None:
    text = _published(name)
    prompt_set = read_prompt_set(text)
    assert prompt_set.kind is kind
    assert len(prompt_set.examples) == count
    last = Example("new", "A new question?", "a", ("yes", "no") if kind is Kind.CHOICE else None)
    asked = render_prompt(kind, prompt_set, last, few_shot=False)
    assert render_prompt(kind, prompt_set, last) == f"{text}\n\n{asked}"
    if hinted is not None:
        shown = render_prompt(kind, prompt_set, last, hint=True)
        assert shown == f"{_published(hinted)}\n\n{asked.replace('yes', 'yes (CORRECT)')}"
