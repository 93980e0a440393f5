"""Digits behind the closing tag."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_engine.tasks.verify import canonical_answer, check_gold, verify, verify_direct

# Figure 3 of the paper.
WORKING = (
    "\n<scratch>\n6 2 4 + 2 5 9 , C: 0\n2 + 5 , 3 C: 1\n6 + 2 , 8 3 C: 0\n, 8 8 3 C: 0\n0 8 8 3\n</scratch>"
)


@pytest.mark.parametrize(
    ("completion", "answer", "verdict"),
    [
        (f"{WORKING}\n8 8 3", "8 8 3", "correct"),
        (f"{WORKING}\n8 8 3", "883", "correct"),
        (f"{WORKING}\n883\n", "8 8 3", "correct"),
        (f"{WORKING} 8 8 3", "8 8 3", "correct"),
        (f"{WORKING}\n\n8 8 3", "8 8 3", "correct"),
        (f"{WORKING}\n8 8 3\n\nInput:\n1 + 1\nTarget:\n<scratch>\n</scratch>\n2", "8 8 3", "correct"),
        (f"{WORKING}\n8 8 3</s>", "8 8 3", "correct"),
        (f"{WORKING}\n- 8 3", "-83", "correct"),
        (f"{WORKING}\nThe answer is 883.", "8 8 3", "correct"),
        (f"{WORKING}\nAnswer: 8 8 3", "8 8 3", "correct"),
        (f"{WORKING}\nThe answer is 88.3", "8 8 3", "unparsed"),
        (f"{WORKING}\nThe answer is not 883.", "8 8 3", "unparsed"),
        (f"{WORKING}\nThe answer is 883. No, 884.", "8 8 3", "ambiguous"),
        (f"{WORKING}\n883.", "8 8 3", "unparsed"),
        (f"{WORKING}\n8 8 4", "8 8 3", "wrong"),
        (f"{WORKING}\n8 8", "8 8 3", "wrong"),
        (f"{WORKING}\n0 8 8 3", "8 8 3", "wrong"),
        ("</scratch>\n8 8 3", "8 8 3", "correct"),  # what stands inside the scratchpad is not checked here
        (WORKING.removesuffix("</scratch>") + "8 8 3", "8 8 3", "unparsed"),
        ("8 8 3", "8 8 3", "unparsed"),
        (WORKING, "8 8 3", "unparsed"),
        (f"{WORKING}\nC: 0", "0", "unparsed"),
        (f"{WORKING}\n8 8 3 C: 0", "8 8 3", "unparsed"),
        (f"{WORKING}\n8,8,3", "8 8 3", "unparsed"),
        (f"{WORKING}\n٨ ٨ ٣", "8 8 3", "unparsed"),
        (f"{WORKING}\n8 8 3\n8 8 4", "8 8 3", "ambiguous"),
        (f"{WORKING}\n8 8 3{WORKING}\n8 8 3", "8 8 3", "ambiguous"),
        (f"{WORKING}\n8 8 3\nand so on", "8 8 3", "ambiguous"),
        ("", "1", "unparsed"),
    ],
)
def test_only_one_line_of_digits_behind_the_closing_tag_counts(
    completion: str, answer: str, verdict: str
) -> None:
    found = verify("scratchpad", completion, answer)
    assert found.verdict == verdict, found
    if found.span:
        assert completion[slice(*found.span)] == found.extracted


@pytest.mark.parametrize(
    ("completion", "verdict"),
    [
        (" 8 8 3", "correct"),
        ("883", "correct"),
        (f"{WORKING}\n8 8 3", "correct"),
        ("8 8 4", "wrong"),
        ("8 8 3\n9", "ambiguous"),
        ("<scratch>", "unparsed"),
    ],
)
def test_a_direct_answer_needs_no_scratchpad(completion: str, verdict: str) -> None:
    assert verify_direct("scratchpad", completion, "8 8 3").verdict == verdict


@pytest.mark.parametrize("answer", ["", "eight", "8.3", "8,3", "8 8 3 C: 0", "8\n3"])
def test_a_gold_answer_without_digits_is_refused_with_the_mend(answer: str) -> None:
    with pytest.raises(ValueError, match="write it like 8 8 3"):
        check_gold("scratchpad", answer)


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_spaces_never_matter_and_digits_always_do(stated: int, gold: int) -> None:
    spaced = " ".join(str(stated))
    found = verify("scratchpad", f"\n<scratch>\n</scratch>\n{spaced}", str(gold))
    assert found.verdict == ("correct" if stated == gold else "wrong")
    assert canonical_answer("scratchpad", spaced) == str(stated)
