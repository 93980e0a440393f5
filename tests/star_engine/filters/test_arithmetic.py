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
]
PASSED_OVER = [
    "",
    "no numbers",
    "x + 3 = 9",
    "2x = 9",
    "twice 5 + 3 = 16",
    "half of 10 + 2 = 7",
    "5 apples + 3 = 9 apples",
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
