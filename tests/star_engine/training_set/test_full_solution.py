"""The hint of the released code for GSM8K: the whole human solution behind the question."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from pathlib import Path

import pytest

from star_engine.config.star import StarConfig
from star_engine.data.prompts import hint_text
from star_engine.data.validation import Unfit
from star_engine.filters.filter_input import FilterInput
from star_engine.filters.hint_markers import hint_markers
from star_engine.run import run_star
from star_engine.sampling.rationales import (
    Rationale,
    RationaleKey,
    Route,
    rationale_prompt,
    sample_rationales,
)
from star_engine.tasks.examples import Example, FewShotExample, PromptSet
from star_engine.tasks.kind import Kind
from star_engine.testing.fakes import RecordingTrainer, ScriptedSampler
from star_engine.training_set.rows import HintLeak, audit_hints, build, decide

SOLUTION = "In May she sold half of 48 clips.\n\nThat is 48/2 = 24, so 48+24 = 72 in all.\n#### 72"
CLIPS = Example("clips", "How many clips?", "72", solution=SOLUTION)
SHOWN = PromptSet(Kind.NUMERIC, (FewShotExample("How many pens?", "2 and 2 make 4.\n#### 4", "4"),))
CONFIG = StarConfig.model_validate({"kind": "numeric", "rationalization": {"hint": "full_solution"}})
OWN_WORDS = "Half of 48 is 24. With the 48 of April that makes 72.\n#### 72"
KEY = RationaleKey("clips", Route.RATIONALIZED, 0)


def rationalized(text: str) -> Rationale:
    return Rationale(KEY, text, "correct", "72", "hashes", 20, 20, "stop")


def test_the_solution_stands_behind_the_question_and_few_shot_examples_show_their_answer_only() -> None:
    prompt = rationale_prompt(CONFIG, SHOWN, CLIPS, Route.RATIONALIZED, 1)
    assert prompt == (
        "Q: How many pens? (4)\nA: 2 and 2 make 4.\n#### 4\n\n"
        "Q: How many clips? (In May she sold half of 48 clips.\nThat is 48/2 = 24, so 48+24 = 72 in all.\n"
        "#### 72)\nA:"
    )
    assert SOLUTION[:20] not in rationale_prompt(CONFIG, SHOWN, CLIPS, Route.GENERATED, 1)


def test_a_failure_is_rationalized_with_the_solution_and_trained_on_without_it() -> None:
    def answer(request: object, _adapter: Path | None) -> str:
        hinted = "In May" in getattr(request, "prompt", "")
        return " " + (OWN_WORDS if hinted else "Some. #### 12")

    tries = list(sample_rationales(ScriptedSampler(answer), CONFIG, SHOWN, [CLIPS], 1, {}))
    assert [(one.key.route, str(one.verdict)) for one in tries] == [
        (Route.GENERATED, "wrong"),
        (Route.RATIONALIZED, "correct"),
    ]
    rows = build(CONFIG, SHOWN, [CLIPS], tries, decide(CONFIG, SHOWN, [CLIPS], tries))
    audit_hints(CONFIG, SHOWN, [CLIPS], tries, rows)
    assert [row.prompt for row in rows] == ["Q: How many clips?\nA:"]
    leaking = replace(rows[0], prompt=rationale_prompt(CONFIG, SHOWN, CLIPS, Route.RATIONALIZED, 1))
    with pytest.raises(HintLeak):
        audit_hints(CONFIG, SHOWN, [CLIPS], tries, [leaking])


def test_a_training_prompt_that_depends_on_the_solution_stops_the_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "star_engine.training_set.rows.training_prompt",
        lambda _config, _shown, example, hinted=False: f"Q: {example.question} {example.solution}\nA:",
    )
    tries = [rationalized(OWN_WORDS)]
    rows = build(CONFIG, SHOWN, [CLIPS], tries, decide(CONFIG, SHOWN, [CLIPS], tries))
    with pytest.raises(HintLeak, match="depends on the gold answer"):
        audit_hints(CONFIG, SHOWN, [CLIPS], tries, rows)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (SOLUTION, "hint_markers"),
        (f"She knows. {SOLUTION}", "hint_markers"),
        ("(" + SOLUTION + ")", "hint_markers"),
        (OWN_WORDS, None),
    ],
)
def test_a_rationale_that_only_repeats_the_solution_is_dropped(text: str, reason: str | None) -> None:
    template = CONFIG.rationalization.template
    item = FilterInput(
        question=CLIPS.question,
        answer=CLIPS.answer,
        choices=None,
        kind="numeric",
        route="rationalized",
        completion=text,
        hint=hint_text(Kind.NUMERIC, CLIPS, template),
    )
    assert hint_markers(item) == reason


def test_examples_without_a_solution_are_named_before_anything_is_sampled(tmp_path: Path) -> None:
    bare = [Example(f"row-{n}", f"How many of {n}?", str(n)) for n in (1, 2)]
    sampler = ScriptedSampler({})
    run = run_star(CONFIG, [CLIPS, *bare], [CLIPS], SHOWN, sampler, RecordingTrainer(), tmp_path)
    with pytest.raises(Unfit, match="Example 'row-1' has no solution") as bad:
        deque(run, maxlen=0)
    assert bad.value.field == "config.rationalization.hint"
    assert len(bad.value.errors) == 2
    assert not sampler.requests
