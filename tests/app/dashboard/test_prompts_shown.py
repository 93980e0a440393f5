"""The hint, marked in what was asked and struck through in what is trained on, for every kind of question."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.dashboard.results.prompts_shown import Prompts, prompts_of
from app.dashboard.results.segments import Segment
from app.data.datasets import ExampleOut
from app.results.rationales import RationaleDetailOut, TrainingRowOut
from star_engine.data.prompts import hint_text, render_completion, render_prompt
from star_engine.sampling.rationales import Route
from star_engine.tasks.examples import Example, FewShotExample, PromptSet
from star_engine.tasks.kind import Kind
from star_engine.tasks.registry import task_of

SHOWN = {
    Kind.NUMERIC: FewShotExample(question="How many are 1 and 1?", rationale="It is 2. #### 2", answer="2"),
    Kind.CHOICE: FewShotExample(
        question="Wet?", rationale="So it is (a).", answer="a", choices=("water", "sand")
    ),
    Kind.SCRATCHPAD: FewShotExample(question="1 + 1", rationale="2", answer="2"),
}
ASKED = {
    Kind.NUMERIC: ("Of 72 apples,\n\nhow many are left?", "72", None),
    Kind.CHOICE: ("Which is dry?", "b", ("sea", "desert", "lake")),
    Kind.SCRATCHPAD: ("4 + 4", "8", None),
}


def shown(kind: Kind, *, trained: bool = True, hint_kept: bool = False) -> tuple[RationaleDetailOut, Prompts]:
    question, answer, choices = ASKED[kind]
    example = Example(id="1", question=question, answer=answer, choices=choices, group=None, split="train")
    prompts = PromptSet(kind, (SHOWN[kind],))
    prompt = render_prompt(kind, prompts, example, hint=True)
    row = render_prompt(kind, prompts, example, hint=hint_kept, few_shot=False)
    text = f"So it is {answer}."
    detail = RationaleDetailOut(
        id="rat_1",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        job="job_1",
        iteration=1,
        example=ExampleOut(
            id="1",
            question=question,
            answer=answer,
            choices=None if choices is None else list(choices),
            solution=None,
            group=None,
            split="train",
        ),
        route=Route.RATIONALIZED,
        sample=0,
        text=text,
        extracted=answer,
        verdict="correct",
        rule="anchor",
        checks=None,
        reading=None,
        decision="kept" if trained else "dropped",
        reason="kept" if trained else "too_short",
        overridden=False,
        tokens=5,
        prompt_tokens=9,
        finish_reason="stop",
        sampler_adapter_id=None,
        prompt=prompt,
        hint=hint_text(kind, example),
        span=(9, 9 + len(answer)),
        training_row=TrainingRowOut(position=0, prompt=row, completion=render_completion(kind, text))
        if trained
        else None,
        trained_in=[1] if trained else [],
    )
    return detail, prompts_of(detail, task_of(kind).layout)


def of(segments: object, mark: str) -> str:
    assert isinstance(segments, list)
    return "".join(one.text for one in segments if isinstance(one, Segment) and one.mark == mark)


@pytest.mark.parametrize("kind", ASKED)
def test_the_hint_and_nothing_else_is_struck_through(kind: Kind) -> None:
    detail, found = shown(kind)
    assert found.trained is not None
    assert detail.hint is not None
    struck = of(found.trained.block, "removed")
    assert struck.split() == detail.hint.split()
    assert of(found.asked.block, "hint") == struck
    assert of(found.trained.block, "added") == ""
    left = "".join(one.text for one in found.trained.block if one.mark != "removed")
    assert detail.training_row is not None
    assert left == detail.training_row.prompt
    assert found.asked.few_shot
    assert of(found.trained.completion, "answer") == detail.extracted


@pytest.mark.parametrize("kind", ASKED)
def test_the_hint_of_what_is_not_trained_on_is_marked_in_its_prompt(kind: Kind) -> None:
    detail, found = shown(kind, trained=False)
    assert found.trained is None
    assert of(found.asked.block, "hint") == detail.hint


def test_a_hint_that_was_left_in_is_not_struck_through() -> None:
    detail, found = shown(Kind.NUMERIC, hint_kept=True)
    assert found.hint_kept
    assert found.trained is not None
    assert of(found.trained.block, "removed") == ""
    assert of(found.trained.block, "hint") == detail.hint
