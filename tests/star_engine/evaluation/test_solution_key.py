import pytest

from star_engine.evaluation.solution_key import solution_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3 + 4 = 7", "First, 3+4=7."),
        ("He has 1,000 - 1 = 999 left.", "1000-1=999"),
        ("2 × 3 = 6", "2 * 3 = 6"),
        ("They cost $2 + $3 = $5 and then (5 + 1) * 2 = 12.", "2+3=<<2+3=5>>5\n(5+1)*2=<<(5+1)*2=12>>12"),
        ("The answer is  Yes", "the answer is yes"),
    ],
)
def test_the_same_calculations_are_the_same_solution(one: str, other: str) -> None:
    assert solution_key(one) == solution_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3 + 4 = 7", "4 + 3 = 7"),
        ("1 + 1 = 2, 2 + 1 = 3", "2 + 1 = 3, 1 + 1 = 2"),
        ("It has wings.", "It can fly."),
        ("It has 2 wings.", "It has 3 wings."),
    ],
)
def test_other_calculations_or_other_words_without_any_are_another(one: str, other: str) -> None:
    assert solution_key(one) != solution_key(other)
