"""Equations in running text: what is checked, and what is passed over because it cannot be read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_engine.filters.arithmetic import false_equation

TRUE = [
    "48/2 = <<48/2=24>>24 clips",
    "0.2 x 50 = $<<0.2*50=10>>10",
    "18*.5 = $<<18*.5=9.00>>9.00",
    "S + 30 + 46 = S + <<+30+46=76>>76",
    "S + 143 = 200 - 16 = 184",
    "5 * $144 = $720",
    "4080 ÷ 2 = 2,040",
    "2 − 5 = −3",
    "2^3 = 8 and 2 ** 3 = 8",
    "20/50 = 40% = 0.4",
    "20/50 * 100 = 40%",
    "10% + 20% = 30%",
    "80 * 20% = 16",
    "10 / 3 = 3.33",
    "2 / 3 = .67",
    "2 / 3 = 0.666",
    "80(.95) = 76 and (1/2)(20) = 10",
    "- 5 + 3 = 8",  # a bullet
    "1) 5 + 3 = 8",
    "3/4 * 1/2 = 3/8",
    "<<5+3=8.0>>",
    "3 apples + 4 apples = 7 apples",
    "48 clips + 24 clips = 72 clips",
    "48 plus 24 equals 72",
    "5 times 3 makes 15",
    "Five times three is fifteen.",
    "half of 10 is 5",
    "Half of 48 clips is 24 clips.",
    "Twice 12 is 24",
    "a third of 30 is 10",
    "4 bags * 6 apples = 24 apples",
    "3 hours * 60 minutes/hour = 180 minutes",
    "$40 minus $15 is $25",
    "100 divided by 8 is 12.5",
]
FALSE = [
    "48/2 = <<48/2=26>>26 clips",
    "48 / 2 = 26 clips",
    "Then, 5 + 3 = 9 apples.",
    "Total: 5+3=9",
    "(5 + 3) * 2 = 13",
    "5 x 3 = 16",
    "5 × 3 = 16",
    "2 - 5 = 3",
    "10 / 3 = 3.53",
    "10 / 4 = 2",
    "80 * 20% = $20",
    "6 + 2 = 4 * 3",
    "5 + 3 = 8 = 4 + 5",
    "1,000 + 80 = 1,800",
    "3 apples + 4 apples = 8 apples",
    "48 clips + 24 clips = 74 clips",
    "48 plus 24 equals 74",
    "So 5 times 3 makes 16.",
    "Five times three is sixteen.",
    "half of 10 is 6",
    "Half of 48 clips is 26 clips.",
    "Twice 12 is 22",
    "a third of 30 is 12",
    "4 bags * 6 apples = 26 apples",
    "3 hours * 60 minutes/hour = 190 minutes",
    "$40 minus $15 is $35",
    "100 divided by 8 is 12",
    "20 divided by 4, which is 6.",
    "7 multiplied by 8 gives 54",
    "$12 + $7 = $20",
    "A quarter of 20 pages is 6 pages.",
    "5 apples + 3 = 9 apples",
]
PASSED_OVER = [
    "",
    "no numbers",
    "x + 3 = 9",
    "2x = 9",
    "twice 5 + 3 = 16",
    "half of 10 + 2 = 7",
    "1 hour + 30 minutes = 90 minutes",
    "2 dozen + 3 = 27",
    "5 times 3 is 2 more than 13",
    "half of 10 and 2 is 7",
    "twice half of 10 is 10",
    "48 plus 24 clips is many",
    "3 plus 4 times 2 is 11",
    "half of 10 is 5 hundred",
    "2 weeks * 7 = 14 days",
    "5 times 3 is 15 times 1",
    "17 / 5 = 3 remainder 2",
    "28 / 1/5 = 140",
    "8:30 + 2 = 10:30",
    "room 2 = 3 * 4",
    "weeks 1-2 = 96 - 70",
    "3 + 4 >= 8",
    "3 + 4 != 8",
    "10 + 5 = 5 times 3",
    "5 + 3 = 2 dozen",
    "$1 / 2 = 50 cents",
    "1 / 0 = 5",
    "9**9**9**9 = 5",
    "__import__('os').getpid() + 1 = 2",
    "((((((((((5 + 3 = 9",
    "2 + 5 , 3 C: 1",
    "5 + 3 = 1 1/2",
]


@pytest.mark.parametrize("text", TRUE)
def test_a_true_equation_is_not_called_false(text: str) -> None:
    assert false_equation(text) is None


@pytest.mark.parametrize("text", FALSE)
def test_a_false_equation_is_found(text: str) -> None:
    assert false_equation(text) is not None


@pytest.mark.parametrize("text", PASSED_OVER)
def test_what_cannot_be_read_is_passed_over(text: str) -> None:
    assert false_equation(text) is None


@given(
    st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from("+-*"), st.integers(-3, 3), st.booleans()
)
def test_an_equation_of_integers_is_judged_by_its_value(
    left: int, right: int, operator: str, slip: int, commas: bool
) -> None:
    value = {"+": left + right, "-": left - right, "*": left * right}[operator]
    shown = f"{value + slip:,}" if commas else str(value + slip)
    found = false_equation(f"So that is {left} {operator} {right} = {shown} apples.")
    assert (found is None) == (slip == 0)


@pytest.mark.parametrize(
    "piece", ["1", "1 ", "(", "1+", "1,", "<<", "1=", "=", " ", "1/1", ".", "x", "1x", "a = 1 "]
)
def test_a_degenerate_text_costs_time_in_proportion_to_its_length(piece: str) -> None:
    """A pattern that backtracks would not come back from this before the test is stopped."""
    assert false_equation(piece * 20_000 + "!") is None
