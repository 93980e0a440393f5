"""Trying a verdict out in the dashboard."""

from __future__ import annotations

from html import unescape

from tests.app.dashboard.conftest import Visitor

SOLVED = "<b>6 bags</b> with 7 rolls are 6 * 7 = 42.\r\n#### 42\r\nAnd now another."


def test_a_text_is_shown_with_its_answer_marked_and_its_training_row(visitor: Visitor) -> None:
    assert 'name="completion"' in visitor.get("/verifiers").text
    answer = visitor.post("/verifiers/run", kind="numeric", completion=SOLVED, answer="42")
    assert answer.status_code == 200
    assert "<b>6 bags" not in answer.text  # what somebody wrote is text
    shown = unescape(answer.text)
    assert "#### <mark>42</mark>\nAnd now another.</pre>" in shown
    assert "> <b>6 bags</b> with 7 rolls are 6 * 7 = 42.\n#### 42</pre>" in shown
    assert "It would be trained on." in shown


def test_a_dropped_text_says_which_filter_would_drop_it_and_why(visitor: Visitor) -> None:
    said = "The hint says 42, so it is.\n#### 42"
    answer = visitor.post(
        "/verifiers/run", kind="numeric", completion=said, answer="42", route="rationalized"
    )
    assert "It would not be trained on: speaks of the hint" in answer.text
    assert '<tr><th scope="row">hint_markers</th><td>yes</td><td>speaks of the hint' in answer.text


def test_choices_are_read_line_by_line(visitor: Visitor) -> None:
    fields = {
        "completion": "Milk is given by cows, so it is (b).",
        "answer": "b",
        "choices": "hen\r\ncow\r\n",
    }
    answer = visitor.post("/verifiers/run", kind="choice", **fields)
    assert "<mark>(b)</mark>" in answer.text


def test_a_row_that_cannot_be_judged_and_bad_options_name_their_field(visitor: Visitor) -> None:
    fields = {"kind": "numeric", "completion": "#### 42"}
    answer = visitor.post("/verifiers/run", **fields, answer="many")
    assert "<code>answer</code>: &#39;many&#39; is not one number." in answer.text
    refused = visitor.post("/verifiers/run", **fields, answer="42", options="fallback")
    assert refused.status_code == 422
    assert "<code>options</code>: Not a JSON object." in refused.text
