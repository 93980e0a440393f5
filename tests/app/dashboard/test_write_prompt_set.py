"""A prompt set is written in the browser: judged meanwhile, stored only where every example is right."""

from __future__ import annotations

from html import unescape

from httpx2 import Response

from tests.app.dashboard.conftest import Visitor, sign_in

RIGHT = {
    "question": "What do 2 pens at 3 dollars cost?",
    "rationale": "2 times 3 is 6. #### 6",
    "answer": "6",
}
WRONG = {"question": "And 3?", "rationale": "3 times 3 is 9. #### 9", "answer": "8"}
BLANK = {"question": "", "rationale": "", "answer": ""}


def send(visitor: Visitor, path: str, *rows: dict[str, str], **fields: str) -> Response:
    """As the form sends it: each field of an example once per example, in order."""
    columns = {
        name: [row.get(name, "") for row in rows] for name in ("question", "choices", "rationale", "answer")
    }
    data = {"csrf": visitor.token(), "name": "pens", "kind": "numeric", **columns, **fields}
    return visitor.client.post(f"/dashboard/prompt-sets/new{path}", data=data, follow_redirects=False)


def test_each_example_that_is_begun_is_judged_by_its_number_and_nothing_is_stored(visitor: Visitor) -> None:
    told = unescape(send(visitor, "/check", RIGHT, BLANK, WRONG).text)
    assert 'Example 1: <span class="badge succeeded">right</span>' in told
    assert "Example 2" not in told
    assert "Does not lead to its own answer '8': it answers '9'" in told.split("Example 3:")[1]
    assert "<html" not in told
    assert visitor.api.client.get("/v1/prompt-sets").json()["data"] == []


def test_a_wrong_example_is_refused_with_all_that_was_written_still_there(visitor: Visitor) -> None:
    answer = send(visitor, "", RIGHT, WRONG)
    assert answer.status_code == 422
    assert RIGHT["rationale"] in answer.text
    assert WRONG["rationale"] in answer.text
    assert visitor.api.client.get("/v1/prompt-sets").json()["data"] == []


def test_a_refusal_counts_the_examples_as_the_page_shows_them(visitor: Visitor) -> None:
    told = unescape(send(visitor, "", BLANK, RIGHT, WRONG).text)
    assert "<li>Row 2, <code>rationale</code>" in told
    assert 'id="rationale-2" name="rationale" rows="4" maxlength="20000">' + WRONG["rationale"] in told
    assert "Example 2: <code>rationale</code>" in told
    assert told.count("<legend>Example ") == 3


def test_what_is_written_is_a_prompt_set_of_the_api(visitor: Visitor) -> None:
    answer = send(visitor, "", RIGHT, BLANK, {**WRONG, "answer": "9"})
    [made] = visitor.api.client.get("/v1/prompt-sets").json()["data"]
    assert answer.headers["location"] == f"/dashboard/prompt-sets/{made['id']}"
    assert [one["answer"] for one in made["examples"]] == ["6", "9"]
    assert (made["name"], made["kind"]) == ("pens", "numeric")


def test_choices_are_lines_and_a_line_break_of_a_browser_is_one_character(visitor: Visitor) -> None:
    row = {
        "question": "Where are grapes put?",
        "choices": "mouth\r\ngrocery cart",
        "rationale": "Before paying.\r\nTherefore, the answer is grocery cart (b).",
        "answer": "b",
    }
    assert send(visitor, "", row, kind="choice").status_code == 303
    [made] = visitor.api.client.get("/v1/prompt-sets").json()["data"]
    assert made["examples"][0]["choices"] == ["mouth", "grocery cart"]
    assert "\r" not in made["examples"][0]["rationale"]


def test_another_example_keeps_those_before_it(visitor: Visitor) -> None:
    answer = send(visitor, "/more", RIGHT, BLANK, BLANK)
    assert RIGHT["question"] in answer.text
    assert answer.text.count("<legend>Example ") == 4


def test_a_name_or_a_kind_that_is_none_is_refused_in_words(visitor: Visitor) -> None:
    assert "Give the prompt set a name." in send(visitor, "", RIGHT, name=" ").text
    assert "There is no kind" in unescape(send(visitor, "", RIGHT, kind="numbers").text)


def test_a_reader_is_not_offered_the_form(visitor: Visitor) -> None:
    reader = sign_in(visitor.api, visitor.api.reader)
    assert "prompt-sets/new" not in reader.get("/prompt-sets").text.split("<main")[1].split("<table")[0]
    assert reader.get("/prompt-sets/new").status_code == 403
