"""Which choice a completion states, and when it states none."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_engine.tasks.verify import canonical_answer, check_gold, verify, verify_direct

INK = ("shirt pocket", "calligrapher's hand", "inkwell", "desk drawer", "blotter")
FOX = ("pretty flowers", "hen house", "natural habitat", "storybook", "dense forest")
TWICE = ("market", "desert", "super market", "desert", "St. Louis")
ODD = ("vitamin (c)", "do not know", "a", "C++", "the Desert")

# (completion, gold letter, choices)
RIGHT = [
    (" Blotters are designed to absorb liquids. Therefore, the answer is blotter (e).", "e", INK),
    (" Therefore, the answer is blotter (E).", "e", INK),
    ("Therefore, the answer is blotter (e)", "E", INK),
    ("Therefore, the answer is blotter (e). ", "e", INK),
    ("The answer is (e) blotter.", "e", INK),
    ("The answer is ( e ).", "e", INK),
    ("The answer is: (e)", "e", INK),
    ("**Answer:** (e)", "e", INK),
    ("The answer is **blotter** (e).", "e", INK),
    ("The answer is blotter.", "e", INK),
    ("The answer is a blotter, since it absorbs.", "e", INK),
    ("The answer is the Blotter", "e", INK),
    ("The answer is calligrapher’s hand.", "b", INK),
    ("The answer is the natural  habitat.", "c", FOX),
    ("The answer is blotter (e), not inkwell (c).", "e", INK),
    ("Of (a) and (e), the answer is (e).", "e", INK),
    ("The answer is e.", "e", INK),
    ("Blotters absorb ink (e).", "e", INK),
    ("Blotters absorb ink.\n(e)", "e", INK),
    ("(a) is for pens. (b) holds a pen. Therefore, the answer is blotter (e).", "e", INK),
    ("The answer is not (a). The answer is blotter (e).", "e", INK),
    ("Since it is not a desk, the answer is blotter (e).", "e", INK),
    ("The answer is desert (b).", "d", TWICE),  # two choices with one text: either label is right
    ("The answer is desert (d).", "b", TWICE),
    ("The answer is desert.", "d", TWICE),
    ("The answer is super market.", "c", TWICE),
    ("The answer is St. Louis (e).", "e", TWICE),
    ("The answer is St. Louis.", "e", TWICE),
    ("The answer is vitamin (c).", "a", ODD),
    ("The answer is vitamin (c) (a).", "a", ODD),
    ("The answer is do not know (b).", "b", ODD),
    ("The answer is do not know.", "b", ODD),
    ("The answer is C++ (d).", "d", ODD),
    ("The answer is C++.", "d", ODD),
    ("The answer is the desert.", "e", ODD),
    ("Therefore, the answer is blotter (e).\n\nQ: What else?\nA: The answer is (a).", "e", INK),
]

WRONG = [
    ("The answer is (a), which suits the letter.", "e", INK),  # STaR's released code reads the e of "letter."
    ("Therefore, the answer is inkwell (c).", "e", INK),
    ("The answer is inkwell.", "e", INK),
    ("So it holds ink (c).", "e", INK),
]

AMBIGUOUS = [
    ("The answer is (a) or (e).", "e", INK),
    ("The answer is (a). The answer is (e).", "e", INK),
    ("The answer is blotter (e). But (c) holds ink.", "e", INK),
    ("The answer is blotter (b).", "b", INK),  # (b) is another choice than the one named
    ("The answer is (b) blotter.", "b", INK),
    ("The answer is (a) blotter.", "e", INK),  # STaR's released code reads the e of "blotter."
    ("The answer is blotter (e). Wait, inkwells hold ink.", "e", INK),
    ("It is (a) or (e).", "e", INK),
]

UNPARSED = [
    ("the answer is (e) not.", "a", ("x", "y")),  # no such letter
    ("The answer is something that absorbs ink, unlike an inkwell.", "c", INK),
    ("The answer is where an inkwell goes.", "c", INK),
    ("The answer is not (e).", "e", INK),
    ("The answer isn't blotter (e).", "e", INK),
    ("The answer is not blotter.", "e", INK),
    ("The answer is inkwell or blotter.", "e", INK),
    ("It cannot be (e).", "e", INK),
    ("The blotter.", "e", INK),
    ("She wrote a letter to the blotter", "r", tuple("abcdefghijklmnopqr")),
    ("", "e", INK),
    ("The answer is blotting paper.", "e", INK),
    ("The answer is blotter paper.", "e", INK),
    ("Blotters (e) absorb ink.", "e", INK),
    ("The answer is desert storm.", "b", TWICE),
]


@pytest.mark.parametrize(
    ("completion", "answer", "choices", "verdict"),
    [
        (*case, verdict)
        for table, verdict in (
            (RIGHT, "correct"),
            (WRONG, "wrong"),
            (AMBIGUOUS, "ambiguous"),
            (UNPARSED, "unparsed"),
        )
        for case in table
    ],
)
def test_a_choice_is_read_where_it_is_stated_and_nowhere_else(
    completion: str, answer: str, choices: tuple[str, ...], verdict: str
) -> None:
    found = verify("choice", completion, answer, choices)
    assert found.verdict == verdict, found
    if found.span:
        assert completion[slice(*found.span)] == found.extracted


@pytest.mark.parametrize(
    ("completion", "verdict"),
    [
        ("(e)", "correct"),
        (" (e).", "correct"),
        ("e", "correct"),
        ("E.", "correct"),
        ("e)", "correct"),
        ("**e**", "correct"),
        ("(e) blotter", "correct"),
        ("e) blotter", "correct"),
        ("e. blotter", "correct"),
        ("blotter (e)", "correct"),
        ("blotter", "correct"),
        ("Blotter.", "correct"),
        ("The answer is blotter (e).", "correct"),
        ("(e)\nIt absorbs ink.", "correct"),
        ("(a)", "wrong"),
        ("inkwell", "wrong"),
        ("b) blotter", "ambiguous"),
        ("blotter (b)", "ambiguous"),
        ("(a) or (e)", "ambiguous"),
        ("blotting paper", "unparsed"),
        ("e-mail", "unparsed"),
        ("(f)", "unparsed"),
        ("", "unparsed"),
    ],
)
def test_a_direct_answer_may_be_a_bare_letter(completion: str, verdict: str) -> None:
    assert verify_direct("choice", completion, "e", INK).verdict == verdict


def test_a_bare_letter_that_is_also_the_text_of_another_choice_is_ambiguous() -> None:
    assert verify_direct("choice", "b", "a", ("b", "a")).verdict == "ambiguous"


@pytest.mark.parametrize(
    ("answer", "choices", "fix"),
    [
        ("f", INK, "a to e"),
        ("blotter", INK, "the text is that of choice e"),
        ("", INK, "a to e"),
        ("a", None, "needs 2 to 26 choices"),
        ("a", ("only",), "needs 2 to 26 choices"),
        ("a", ("x", " "), "empty choice"),
    ],
)
def test_a_gold_answer_that_is_no_choice_is_refused_with_the_mend(
    answer: str, choices: tuple[str, ...] | None, fix: str
) -> None:
    with pytest.raises(ValueError, match=fix):
        check_gold("choice", answer, choices)


def test_two_labels_of_one_text_have_one_canonical_form() -> None:
    assert canonical_answer("choice", "D", TWICE) == canonical_answer("choice", "(b)", TWICE) == "b"


WORDS = st.text(alphabet="abcdefg hijk'-", min_size=1, max_size=12).filter(lambda text: text.strip())


@given(st.lists(WORDS, min_size=2, max_size=8, unique_by=lambda text: " ".join(text.split())), st.data())
def test_the_letter_stated_in_the_papers_form_decides(choices: list[str], data: st.DataObject) -> None:
    stated = data.draw(st.integers(0, len(choices) - 1))
    gold = data.draw(st.integers(0, len(choices) - 1))
    letters = "abcdefgh"
    completion = f" Some reasoning. Therefore, the answer is {choices[stated]} ({letters[stated]})."
    found = verify("choice", completion, letters[gold], choices)
    assert found.verdict == ("correct" if stated == gold else "wrong"), found


def test_every_commonsenseqa_gold_verifies_against_itself() -> None:
    folder = os.environ.get("STAR_TEST_DATA")
    if not folder:
        pytest.skip("STAR_TEST_DATA does not name the folder with commonsenseqa_train.jsonl")
    rows = [json.loads(line) for line in (Path(folder) / "commonsenseqa_train.jsonl").open()]
    for row in rows:
        check_gold("choice", row["answerKey"], [choice["text"] for choice in row["question"]["choices"]])
    assert len(rows) == 9741
