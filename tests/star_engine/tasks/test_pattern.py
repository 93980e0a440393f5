"""A user's own pattern, in linear time or not at all."""

import pytest

from star_engine.tasks.verify import check_gold, verify, verify_direct

FINAL = r"Final answer: (\w+)"


@pytest.mark.parametrize(
    ("completion", "pattern", "verdict", "extracted"),
    [
        ("So. Final answer: Paris.", FINAL, "correct", "Paris"),
        ("So. Final answer: PARIS.", FINAL, "correct", "PARIS"),
        ("é𝄞 Final answer: Paris", FINAL, "correct", "Paris"),  # offsets are characters, not bytes
        ("\ud800 Final answer: Paris", FINAL, "correct", "Paris"),
        ("Final answer: Paris. Final answer: paris.", FINAL, "correct", "paris"),
        ("<a>Paris</a>", r"<(?P<tag>\w+)>(?P<answer>\w+)", "correct", "Paris"),
        ("It is Paris!", r"Paris|Rome", "correct", "Paris"),
        ("Final answer: Rome", FINAL, "wrong", "Rome"),
        ("Final answer: Paris. Final answer: Rome.", FINAL, "ambiguous", None),
        ("Paris", FINAL, "unparsed", None),
        ("x\nQ: y\nFinal answer: Paris", FINAL, "unparsed", None),
    ],
)
def test_the_group_holds_the_answer(
    completion: str, pattern: str, verdict: str, extracted: str | None
) -> None:
    found = verify("pattern", completion, "Paris", pattern=pattern)
    assert (found.verdict, found.extracted) == (verdict, extracted)
    if found.span:
        assert completion[slice(*found.span)] == found.extracted


@pytest.mark.parametrize(
    ("completion", "verdict"),
    [("Paris", "correct"), (" Final answer: Paris", "correct"), ("Rome", "wrong"), ("", "unparsed")],
)
def test_a_direct_answer_need_not_match(completion: str, verdict: str) -> None:
    assert verify_direct("pattern", completion, "Paris", pattern=FINAL).verdict == verdict


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (r"(?=answer)(\w+)", "no look-ahead"),
        (r"(?<=answer )(\w+)", "no look-ahead"),
        (r"(\w+) \1", "back-references"),
        (r"((a{1000}){1000})", "refused by RE2"),
        (r"(\w+", "refused by RE2"),
        ("\ud800", "refused by RE2"),
        (r"(a)(b)", r"name the one that holds the answer"),
        (r"\d*", "matches an empty text"),
        ("", "needs the option pattern"),
        ("a" * 1001, "at most 1000"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused_with_the_mend(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_gold("pattern", "Paris", pattern=pattern)
    with pytest.raises(ValueError, match=reason):
        verify("pattern", "Final answer: Paris", "Paris", pattern=pattern)


def test_a_missing_pattern_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the option pattern"):
        verify("pattern", "Final answer: Paris", "Paris")


def test_a_pattern_that_backtracks_elsewhere_is_linear_here() -> None:
    # Python's own re needs 2^n steps for this one; at n = 10,000 this test would never end.
    found = verify("pattern", "a" * 10_000 + "b", "a", pattern=r"^((?:a+)+)$")
    assert found.verdict == "unparsed"
