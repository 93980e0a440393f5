"""What counts as the same number, and where in a completion it may stand."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_engine.tasks.verify import canonical_answer, check_gold, verify, verify_direct

# (completion, gold answer)
RIGHT = [
    (" 48/2 = <<48/2=24>>24 clips in May.\nShe sold 48+24 = <<48+24=72>>72 clips.\n#### 72", "72"),
    ("#### 72.", "72"),
    ("#### $72", "72"),
    ("####72", "72"),
    ("#### 72,", "72"),
    ("#### 72.00", "72"),
    ("#### 72.0.", "72"),
    ("#### $29.00.", "29"),
    ("#### 5.", "5"),
    ("#### 1,080", "1080"),
    ("#### 1080", "1,080"),
    ("#### 1,234,567.50", "1234567.5"),
    ("#### $1,080.00.", "1,080"),
    ("#### 72 clips", "72"),
    ("#### 72 km/h", "72"),
    ("#### 72 square feet.", "72"),
    ("#### 12 cm^2", "12"),
    ("#### 12 m²", "12"),
    ("#### $5/hour", "5"),
    ("#### 14000$", "14000"),
    ("#### 10%", "10%"),
    ("#### 10 percent", "10 %"),
    ("#### 10.0 %", "10%"),
    ("#### -5", "-5"),
    ("#### -$5", "-5"),
    ("#### $-5", "-5"),
    ("#### −5", "-5"),
    ("#### 1/2", "0.5"),
    ("#### 6/8", "3/4"),
    ("#### 1 1/2", "1.5"),
    ("#### -1 1/2", "-1.5"),
    ("#### \\frac{1}{3}", "1/3"),
    ("#### 1\\frac{1}{2}", "3/2"),
    ("#### .5", "1/2"),
    ("#### 1e3", "1000"),
    ("#### 1.5E-2", "0.015"),
    ("#### 007", "7"),
    ("#### -0", "0"),
    ("#### eighteen", "18"),
    ("#### zero", "0"),
    ("#### three hundred and forty-two thousand", "342000"),
    ("#### **72**", "72"),
    ("#### \\boxed{72}", "72"),
    ("#### The answer is 72", "72"),
    ("#### 48 + 24 = 72", "72"),
    ("#### x = 72", "72"),
    ("####\n72", "72"),
    ("#### <<48+24=72>>72", "72"),
    ("#### 72 because 48 + 24 is 72", "72"),
    ("#### 72 (see step 2)", "72"),
    ("So the answer is 72 (see step 2).", "72"),
    ("The answer is 72.", "72"),
    ("The answer is therefore $72.", "72"),
    ("The final answer is: **72**", "72"),
    ("**Answer:** 72", "72"),
    ("Answer: 72 clips.", "72"),
    ("The answer to the question is 1,080.", "1080"),
    ("The answer is 15 gallons * 8 pints / gallon = <<15*8=120>>120 pints.\n#### 120", "120"),
    ("The answer is not obvious.\n#### 72", "72"),
    ("24 correct answers * 2 points/answer = 48 points.\nThe first answer was 600.\n#### 72", "72"),
    ("Thus \\boxed{72}.", "72"),
    ("Thus $\\boxed{\\$1{,}080}$.", "1080"),
    ("Thus $\\boxed{72 \\text{ clips}}$.", "72"),
    ("Thus \\boxed{-\\frac{1}{2}}.", "-0.5"),
    ("The answer is \\boxed{72}.\n#### 72.0", "72"),
    ("#### 10%", "10"),  # GSM8K leaves the sign out of its gold answers
    ("#### 72 (not 73)", "72"),
    ("The answer is 72 on day 5.", "72"),
    ("It comes to this.\n\n##### 72", "72"),
    ("#### 1.080,50", "1080.50"),
    ("#### 1,00,000", "100000"),
    ("#### 5 million", "5000000"),
    ("#### 5 dozen", "60"),
    ("#### 3/5", "3 fifths"),
    ("#### 2 and a half", "2.5"),
    ("#### 1½", "1.5"),
    ("#### ٧٢", "72"),
    ("#### 1\u2009080", "1080"),
    ("#### 72\n#### 73", "72"),  # run-on text: the first counts
    ("#### 72\n\nQ: Weng earns $12 an hour.\nA: #### 10", "72"),
    ("#### 72<|endoftext|>#### 73", "72"),
]

WRONG = [
    ("#### 73", "72"),
    ("#### 10", "10%"),
    ("#### 50%", "0.5"),
    ("#### 0.33", "1/3"),
    ("#### 101", "100"),  # the 1 % tolerance of some libraries
    ("#### 1.2", "12"),
    ("#### 5 million", "5"),
    ("#### 5 dozen", "5"),
    ("#### 8", "8 billion"),
    ("#### 2 and a half", "2"),
    ("#### 5", "-5"),
    ("#### 1", "1.5"),
    ("#### 100000000000000000000000001", "100000000000000000000000000"),  # the same as floats
    ("#### 0.1", "0.1000000000000000055511151231257827"),
    ("#### 72\n#### 73", "73"),
]

AMBIGUOUS = [
    ("#### 72 or 73", "72"),
    ("The answer is 72 or seventy-three.", "72"),
    ("#### 72, 73", "72"),
    ("#### 5 to 6", "5"),
    ("The answer is 70. Let me see.\n#### 72", "72"),
    ("The answer is 72. The answer is 73.", "73"),
    ("\\boxed{72} and \\boxed{73}", "72"),
    ("The answer is 73. Wait no, 72", "73"),
    ("The answer is 73. Wait no, 72", "72"),
    ("#### 73\nActually, that is wrong.", "73"),
    ("The answer is 72, x = 3", "3"),
]

UNPARSED = [
    ("She sold 72 clips", "72"),
    ("Each box holds 72 clips.", "72"),
    ("We know that she sold 72 clips.", "72"),
    ("", "72"),
    ("####", "72"),
    ("#### unknown", "72"),
    ("#### Step 1: add", "1"),
    ("#### 5:30", "5"),
    ("#### 1,2", "1"),
    ("#### 72x", "72"),
    ("#### 5k", "5"),
    ("#### 5!", "5"),
    ("#### 72?", "72"),
    ("#### about 72", "72"),
    ("#### ~72", "72"),
    ("#### > 72", "72"),
    ("#### x >= 72", "72"),
    ("#### 2π", "2"),
    ("#### 1/0", "0"),
    ("#### 1 5/2", "3.5"),
    ("#### 1e999", "1"),
    ("#### 5 more than the last", "5"),
    ("The answer is not 72.", "72"),
    ("If the answer is 72, then she is glad.", "72"),
    ("The answer is one of them.", "1"),
    ("Is that the answer? 72", "72"),
    ("\\boxed{72", "72"),
    ("\\boxed{x+1}", "1"),
]


def _cases(table: list[tuple[str, str]], verdict: str) -> list[tuple[str, str, str]]:
    return [(completion, answer, verdict) for completion, answer in table]


@pytest.mark.parametrize(
    ("completion", "answer", "verdict"),
    [
        *_cases(RIGHT, "correct"),
        *_cases(WRONG, "wrong"),
        *_cases(AMBIGUOUS, "ambiguous"),
        *_cases(UNPARSED, "unparsed"),
    ],
)
def test_a_number_is_read_as_a_careful_person_would(completion: str, answer: str, verdict: str) -> None:
    found = verify("numeric", completion, answer)
    assert found.verdict == verdict, found
    if found.span:
        assert completion[slice(*found.span)] == found.extracted


@pytest.mark.parametrize(
    ("completion", "answer", "verdict", "extracted"),
    [
        ("So she sold 72 clips.", "72", "correct", "72"),
        ("So 48-2 is what is left", "-2", "wrong", "2"),
        ("So x is -2.", "-2", "correct", "-2"),
        ("What is left is 48 -2", "-2", "wrong", "2"),
        ("It is 10%.", "10", "correct", "10%"),
        ("It is $1,080.50.", "1080.5", "correct", "$1,080.50"),
        ("At 5:45", "45", "unparsed", None),
        ("no number at all", "1", "unparsed", None),
        ("#### about 72 of 73", "73", "unparsed", None),  # an anchor that cannot be read is no missing anchor
        ("#### 72\nThat was step 2", "72", "correct", "72"),
    ],
)
def test_the_last_number_counts_only_where_the_job_asks_for_it(
    completion: str, answer: str, verdict: str, extracted: str | None
) -> None:
    found = verify("numeric", completion, answer, fallback="last_number")
    assert (found.verdict, found.extracted) == (verdict, extracted)


@pytest.mark.parametrize(
    ("completion", "answer", "verdict"),
    [
        (" 72", "72", "correct"),
        ("72\nShe sold", "72", "correct"),
        ("$72.00 in total", "72", "correct"),
        ("#### 72", "72", "correct"),
        ("The answer is 72.", "72", "correct"),
        ("73. Wait no, 72", "73", "ambiguous"),
        ("72 or 73", "72", "unparsed"),
        ("She sold 72", "72", "unparsed"),
        ("", "72", "unparsed"),
        ("73", "72", "wrong"),
        ("10%", "10", "correct"),
    ],
)
def test_a_direct_answer_needs_no_anchor(completion: str, answer: str, verdict: str) -> None:
    assert verify_direct("numeric", completion, answer).verdict == verdict


@pytest.mark.parametrize(
    "answer",
    ["", "many", "72 or 73", "5:30", "1,2", "5!", "x = 3", "72. Then 73", "1/0", "She sold 72.\n#### 72"],
)
def test_a_gold_answer_that_is_not_one_number_is_refused_with_the_mend(answer: str) -> None:
    with pytest.raises(ValueError, match=r"write it like|follows '####'"):
        check_gold("numeric", answer)


@pytest.mark.parametrize(
    ("answer", "meant"), [("1.234,5", "1234.5"), ("1 234,5", "1234.5"), ("-1.234.567", "-1234567")]
)
def test_a_gold_answer_with_a_decimal_comma_is_refused_with_both_readings(answer: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"is {meant} by a decimal comma, by which 1.234 is 1234") as refused:
        check_gold("numeric", answer)
    assert str(refused.value).endswith(f"such as {meant}")
    assert verify("numeric", f"The answer is {answer}.", meant).is_correct  # in a text it is the only reading


@pytest.mark.parametrize(
    ("answer", "canonical"),
    [
        ("1,080.00", "1080"),
        (" $72 ", "72"),
        ("-0.50", "-0.5"),
        ("2/6", "1/3"),
        ("1 1/2", "1.5"),
        ("10 percent", "10%"),
        ("1e-3", "0.001"),
        ("-0", "0"),
        ("eighteen", "18"),
        ("72 dollars", "72"),
    ],
)
def test_equal_numbers_have_one_canonical_form(answer: str, canonical: str) -> None:
    assert canonical_answer("numeric", answer) == canonical
    assert canonical_answer("numeric", canonical) == canonical
    check_gold("numeric", answer)


@given(st.fractions(max_denominator=10**6), st.booleans())
def test_every_fraction_survives_its_canonical_form(value: Fraction, percent: bool) -> None:
    written = f"{value.numerator}/{value.denominator}" + ("%" if percent else "")
    canonical = canonical_answer("numeric", written)
    found = verify("numeric", f"The answer is {canonical}.", written)
    assert found.verdict == "correct", (canonical, found)
    assert Fraction(canonical.rstrip("%")) == value


@given(st.integers(-(10**30), 10**30))
def test_commas_currency_and_trailing_zeros_never_change_an_integer(value: int) -> None:
    sign = "-" if value < 0 else ""
    for written in (f"{value:,}", f"{sign}${abs(value):,}.00", f"{value}.", f"{value}.000 dollars"):
        assert verify("numeric", f"#### {written}", str(value)).verdict == "correct", written


@given(st.integers(), st.integers())
def test_two_anchors_agree_exactly_if_their_values_do(one: int, other: int) -> None:
    found = verify("numeric", f"The answer is {one}.\n#### {other}", str(one))
    assert found.verdict == ("correct" if one == other else "ambiguous")
