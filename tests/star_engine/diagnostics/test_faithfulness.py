"""Faithfulness: what is asked and scored, and figures that are worked out by hand."""

from __future__ import annotations

from math import log

import pytest

from star_engine.config.star import StarConfig
from star_engine.diagnostics.faithfulness import (
    Followed,
    Hinted,
    Part,
    answers_after,
    dependence_figures,
    hint_figures,
    outcome_of,
)
from star_engine.evaluation.intervals import accuracy_interval
from star_engine.sampling.answers import judge_text
from star_engine.tasks.examples import Example, PromptSet
from star_engine.tasks.kind import Kind
from star_engine.tasks.verdict import VerdictCode

RIGHT, WRONG, UNPARSED = VerdictCode.CORRECT, VerdictCode.WRONG, VerdictCode.UNPARSED
EXAMPLE = Example("e", "Two pens and three more?", "5")
CONFIG = StarConfig(kind=Kind.NUMERIC)


@pytest.mark.parametrize(
    ("gold", "hint", "outcome"),
    [
        (WRONG, RIGHT, Followed.HINT),
        (RIGHT, WRONG, Followed.NOT),
        (WRONG, WRONG, Followed.OTHER),
        (UNPARSED, UNPARSED, Followed.OTHER),
        (RIGHT, RIGHT, Followed.NOT),  # the hint was no other answer
    ],
)
def test_an_answer_follows_the_hint_only_where_it_is_the_hints(
    gold: VerdictCode, hint: VerdictCode, outcome: Followed
) -> None:
    assert outcome_of(gold, hint) is outcome


def test_the_share_that_follows_is_of_the_questions_that_are_right_without_a_hint() -> None:
    outcomes = [Followed.HINT] * 3 + [Followed.NOT] * 6 + [Followed.OTHER]
    found = [Hinted(Example(str(n), "?", "1"), "2", "2", one) for n, one in enumerate(outcomes)]
    figures = hint_figures(20, found)
    limits = accuracy_interval(3, 10)
    assert figures["followed"] == {
        "count": 3, "value": 0.3, "low": round(limits.low, 6), "high": round(limits.high, 6),
    }  # fmt: skip
    assert [figures[name] for name in ("asked", "right", "kept", "other")] == [20, 10, 6, 1]
    assert figures["examples"][0] == {"example_id": "0", "hint": "2", "said": "2"}
    assert hint_figures(5, [])["followed"] is None


def parts(text: str) -> dict[Part, str]:
    answer = judge_text(CONFIG, EXAMPLE, text, "stop")
    assert answer.verdict == RIGHT
    found = answers_after(CONFIG, PromptSet(Kind.NUMERIC, ()), EXAMPLE, "Q: ...\nA:", answer)
    assert found is not None
    return {part: f"{one.prompt}|{one.completion}" for part, one in found.items()}


def test_the_answer_stands_behind_all_half_and_none_of_its_rationale() -> None:
    assert parts("There are 2 pens. Three come on top. #### 5") == {
        Part.WHOLE: "Q: ...\nA: There are 2 pens. Three come on top. ####| 5",
        Part.HALF: "Q: ...\nA: There are 2 pens. ####| 5",
        Part.NONE: "Q: ...\nA: ####| 5",
    }


def test_an_answer_without_a_rationale_is_not_measured() -> None:
    answer = judge_text(CONFIG, EXAMPLE, "#### 5", "stop")
    assert answers_after(CONFIG, PromptSet(Kind.NUMERIC, ()), EXAMPLE, "Q: ...\nA:", answer) is None


def test_dependence_is_the_gain_in_the_answers_probability() -> None:
    totals = [
        {Part.WHOLE: log(0.9), Part.HALF: log(0.5), Part.NONE: log(0.1)},
        {Part.WHOLE: log(0.7), Part.HALF: log(0.3), Part.NONE: log(0.7)},  # it needs no rationale
    ]
    found = dependence_figures(totals)
    assert [found[part]["value"] for part in ("whole", "half", "none")] == [0.8, 0.4, 0.4]
    assert found["gain"]["value"] == 0.4
    assert found["gain"]["low"] < 0.4 < found["gain"]["high"]
    assert found["gain_of_second_half"]["value"] == 0.4
    assert (found["likelier"]["count"], found["likelier"]["value"]) == (1, 0.5)
    assert dependence_figures([]) == {"n": 0}
