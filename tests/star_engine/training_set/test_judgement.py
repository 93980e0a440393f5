"""Trying a judgement says what a job would say: the same verdict, the same drop, the same row."""

from __future__ import annotations

import json
from typing import Any

import pytest

from star_engine.config.star import StarConfig
from star_engine.data.readers import read_example
from star_engine.filters.registry import FILTERS
from star_engine.protocols import Completion
from star_engine.sampling.answers import judge
from star_engine.sampling.rationales import Rationale, RationaleKey, Route
from star_engine.tasks.examples import PromptSet
from star_engine.tasks.kind import Kind
from star_engine.training_set.judgement import MAX_COMPLETION, judge_lines, judge_row
from star_engine.training_set.rows import build, decide

BAGS = "A baker sells 6 bags with 7 rolls each. How many rolls does he sell?"
SOLVED = "He sells 6 bags with 7 rolls each, so 6 * 7 = 42 rolls.\n#### 42"


def row(**changes: Any) -> dict[str, Any]:
    return {"kind": "numeric", "completion": SOLVED, "answer": "42", "question": BAGS, **changes}


def test_a_row_is_judged_decided_and_rendered_as_a_job_would() -> None:
    text = f" {SOLVED}\nTom has 3 apples. He eats one."
    config = StarConfig(kind=Kind("numeric"))
    example = read_example({"question": BAGS, "answer": "42"}, config.kind)
    answer = judge(config, example, Completion("row-1", text, 0, 0, "stop"))
    key = RationaleKey("row-1", Route.GENERATED, 0)
    tried = Rationale(key, answer.text, answer.verdict, answer.extracted, answer.rule, 0, 0, "stop")
    shown = PromptSet(config.kind, ())
    decisions = decide(config, shown, [example], [tried])
    [trained] = build(config, shown, [example], [tried], decisions)
    found = judge_row(row(completion=text))
    assert (found.verdict, found.rule, found.decision) == ("correct", answer.rule, "kept")
    assert found.trained_on == trained.completion == f" {SOLVED}"


@pytest.mark.parametrize("route", [route for route in Route if route not in (Route.PROBE, Route.MIXED)])
def test_a_text_of_each_route_that_trains_by_its_own_verdict_is_judged(route: Route) -> None:
    found = judge_row(row(route=str(route)))
    assert (found.errors, found.verdict, found.decision) == ((), "correct", "kept")


@pytest.mark.parametrize(
    ("changes", "extracted"),
    [
        ({"completion": f"\n\n  {SOLVED}"}, "42"),
        ({"completion": f"{SOLVED}\nQ: And now?\nA: #### 7"}, "42"),
        ({"kind": "pattern", "options": {"pattern": r"rolls\.\n#### (\d+)"}}, "42"),
        (
            {"kind": "choice", "completion": "  So it is (b).", "answer": "b", "choices": ["a hen", "a cow"]},
            "(b)",
        ),
    ],
)
def test_the_span_holds_the_extracted_answer_in_the_completion_as_given(
    changes: dict[str, Any], extracted: str
) -> None:
    sent = row(**changes)
    found = judge_row(sent)
    assert found.span is not None
    assert sent["completion"][slice(*found.span)] == found.extracted == extracted


def test_every_filter_says_whether_it_would_drop_the_text_and_why() -> None:
    found = judge_row(row(completion="The hint says that the answer is 42.\n#### 42", route="rationalized"))
    assert found.filters.keys() == FILTERS.keys()
    assert found.filters["hint_markers"] == "speaks of the hint, or repeats it"
    assert (found.decision, found.trained_on) == ("hint_markers", None)
    assert judge_row(row()).filters == dict.fromkeys(FILTERS)


def test_a_text_that_the_token_limit_cut_inside_its_answer_is_not_trained_on() -> None:
    found = judge_row(row(finish_reason="length"))
    assert (found.verdict, found.decision, found.trained_on) == ("unparsed", "truncated", None)
    assert found.why == "ran into the token limit before an answer"


@pytest.mark.parametrize(
    ("sent", "field", "says"),
    [
        (row(kind="numbers"), "kind", "There is no kind 'numbers'."),
        (row(answer=None), "answer", "Missing."),
        (row(answer=True), "answer", "Input should be a valid"),
        (row(answer="about 42"), "answer", "'about 42' is not one number."),
        (row(kind="choice", answer="e", choices=["hen", "cow"]), "answer", "'e' is no choice."),
        (row(kind="choice", answer="a"), "choices", "Not a list of 2 to 26 texts."),
        (row(options={"tolerant": 1}), "options", "has no option 'tolerant'"),
        (row(options={"fallback": "any"}), "options", "Fallback 'any' is unknown."),
        (row(kind="pattern"), "options.pattern", "needs the option pattern"),
        (row(route="sideways"), "route", "'generated', 'rationalized', 'hinted' or 'given'"),
        (row(finish_reason="eos"), "finish_reason", "'stop' or 'length'"),
        (row(finishreason="stop"), "finishreason", "Not a field of a row."),
        (row(completion="x" * (MAX_COMPLETION + 1)), "completion", f"at most {MAX_COMPLETION}"),
    ],
)
def test_a_row_that_cannot_be_judged_is_named_with_its_field(
    sent: dict[str, Any], field: str, says: str
) -> None:
    found = judge_row(sent, 7)
    assert found.verdict is None
    assert [error.field for error in found.errors] == [field]
    assert found.errors[0].line == 7
    assert says in found.errors[0].reason
    assert found.errors[0].fix


def test_fields_of_labelled_rows_are_left_alone() -> None:
    assert judge_row(row(want="correct", style="hashes")).errors == ()


def test_a_line_that_is_no_json_does_not_stop_the_lines_behind_it() -> None:
    first, second, third = judge_lines([json.dumps(row()), "{", json.dumps(row(answer="7"))])
    assert (first.verdict, third.verdict, third.row) == ("correct", "wrong", 3)
    assert [error.field for error in second.errors] == ["row"]


def test_a_gold_expression_that_takes_too_long_is_refused_in_time() -> None:
    found = judge_row(row(kind="math", completion="\\boxed{1}", answer="9^{9^{9^{9^9}}}"))
    assert "longer than 5 s" in found.errors[0].reason
