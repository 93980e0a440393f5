"""What holds for every kind."""

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_engine.tasks.registry import TASKS
from star_engine.tasks.verify import canonical_answer, check_gold, verify, verify_direct

CHOICES = ("shirt pocket", "inkwell", "blotter")
GOLDS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "numeric": ("72", None, {}),
    "choice": ("c", CHOICES, {}),
    "scratchpad": ("8 8 3", None, {}),
    "exact": ("Paris", None, {}),
    "pattern": ("Paris", None, {"pattern": r"Final: (\w+)"}),
    "date": ("2024-03-05", None, {}),
}
PIECES = [
    *("#### ", "\\boxed{", "}", "the answer is ", "Answer: ", "72", "73", "(c)", "(a)", "blotter", "inkwell"),
    *("\n", " ", ".", ",", "%", "$", "/", "=", "<scratch>", "</scratch>", "8 8 3", "Final: ", "Paris"),
    *("\nQ:", "</s>", "not ", "or ", "Wait", "-", "{", "\\frac{1}{2}", "<<1=1>>", "½", "\x00", "\ud800"),
]
COMPLETIONS = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES), max_size=14).map("".join))


@pytest.mark.parametrize("kind", GOLDS)
@given(completion=COMPLETIONS)
def test_no_completion_breaks_a_verifier_and_every_span_shows_the_extracted_text(
    kind: str, completion: str
) -> None:
    answer, choices, options = GOLDS[kind]
    for judge in (verify, verify_direct):
        found = judge(kind, completion, answer, choices, **options)
        assert found.verdict in ("correct", "wrong", "unparsed", "ambiguous")
        stated = found.verdict in ("correct", "wrong")
        assert (
            stated
            == (found.extracted is not None)
            == (found.canonical is not None)
            == (found.span is not None)
        )
        if found.span is not None:
            assert completion[slice(*found.span)] == found.extracted
            gold = canonical_answer(kind, answer, choices)
            assert (found.canonical == gold) == (found.verdict == "correct")


@pytest.mark.parametrize("kind", GOLDS)
@given(completion=COMPLETIONS, more=COMPLETIONS)
def test_what_follows_a_stop_never_changes_a_verdict(kind: str, completion: str, more: str) -> None:
    answer, choices, options = GOLDS[kind]
    alone = verify(kind, completion, answer, choices, **options)
    assert verify(kind, f"{completion}\nQ: {more}", answer, choices, **options) == alone


def test_the_stops_can_be_given() -> None:
    assert verify("numeric", "#### 72 STOP or 73", "72").verdict == "ambiguous"
    assert verify("numeric", "#### 72 STOP or 73", "72", stops=["STOP"]).verdict == "correct"


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("digits", {}, "no kind 'digits'; use one of numeric, choice, scratchpad, exact, math, pattern"),
        ("numeric", {"pattern": "x"}, "no option 'pattern'; its options: fallback"),
        ("choice", {"fallback": "last_number"}, "its options: none"),
        ("numeric", {"fallback": "first_number"}, "use last_number"),
    ],
)
def test_a_call_that_fits_no_kind_is_refused(kind: str, options: dict[str, Any], message: str) -> None:
    for judge in (verify, verify_direct):
        with pytest.raises(ValueError, match=message):
            judge(kind, "#### 72", "72", **options)
    with pytest.raises(ValueError, match=message):
        check_gold(kind, "72", **options)


@pytest.mark.parametrize(
    ("kind", "answer", "choices"),
    [("numeric", "many", None), ("choice", "z", CHOICES), ("choice", "a", None), ("scratchpad", "x", None)],
)
def test_a_bad_gold_answer_is_an_error_and_never_a_wrong_completion(
    kind: str, answer: str, choices: tuple[str, ...] | None
) -> None:
    found = verify(kind, "The answer is 72 (a).", answer, choices)
    assert (found.verdict, found.rule, found.is_correct) == ("error", "bad_gold", False)


def test_every_kind_has_a_gold_answer_that_verifies_against_itself() -> None:
    for kind, (answer, choices, options) in {**GOLDS, "math": ("x^2", None, {})}.items():
        check_gold(kind, answer, choices, **options)
    judged_elsewhere = {"math", "code", "program", "remote"}  # test_code.py, test_program.py, test_grader.py
    assert set(TASKS) == {*GOLDS, *judged_elsewhere, "documents"}  # which have no answers


def test_an_answer_that_reads_as_something_else_in_a_completion_is_refused_at_upload() -> None:
    with pytest.raises(ValueError, match="does not verify against itself"):
        check_gold("exact", "Wait</s>and see")


def test_the_verifiers_load_neither_torch_nor_math_verify() -> None:
    code = (
        "import sys, star_engine.tasks.verify, star_engine.filters.registry\n"
        "print([name for name in ('torch', 'math_verify', 'sympy', 'sqlalchemy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


DEGENERATE = [
    *("the answer is 72. ", "The answer is blotter (c). ", "#### 72 ", "\\boxed{", "\\boxed{72} ", "answer "),
    *(
        "(c)",
        "blotter ",
        "a. ",
        " ",
        "\n",
        "8 ",
        "</scratch>",
        "{",
        "$",
        "**",
        "<<",
        "=",
        "1,000",
        "Final: ",
        "wait, ",
        "<answer>",
        "is the answer ",
        "if ",
        "- ",
        "B. ",
        "March 5, 2024 ",
        "So 4 ",
    ),
]


@pytest.mark.parametrize("kind", GOLDS)
@pytest.mark.parametrize("piece", DEGENERATE)
def test_a_text_stuck_in_a_loop_gets_its_verdict_in_proportion_to_its_length(kind: str, piece: str) -> None:
    """100,000 characters: what costs the square of them does not come back before the test is stopped."""
    answer, choices, options = GOLDS[kind]
    completion = f"The answer is {piece * (100_000 // len(piece))}!"
    for judge in (verify, verify_direct):
        assert judge(kind, completion, answer, choices, **options).verdict != "error"
