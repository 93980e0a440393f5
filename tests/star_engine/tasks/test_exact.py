"""Short texts, folded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_engine.tasks.exact import fold
from star_engine.tasks.verify import check_gold, verify, verify_direct


@pytest.mark.parametrize(
    ("completion", "answer", "verdict"),
    [
        ("The answer is Paris.", "paris", "correct"),
        ("The answer is  NEW\tYork", "new york", "correct"),
        ("The answer is Paris. It is the capital.", "Paris", "correct"),
        ("The answer is Dr. Who.", "Dr. Who", "correct"),
        ("The answer is the U.S. Army.", "the U.S. Army", "correct"),
        ("The answer is **Paris**.", "Paris", "correct"),
        ('The answer is "Paris".', "Paris", "correct"),
        ("Answer: Paris", "Paris", "correct"),
        ("#### Paris", "Paris", "correct"),
        ("#### Paris\n#### Rome", "Paris", "correct"),
        ("Thus \\boxed{\\text{Paris}}.", "Paris", "correct"),
        ("The answer is \\boxed{Paris}.", "Paris", "correct"),
        ("Answer: #### Paris", "Paris", "correct"),
        ("#### ﬁre", "fire", "correct"),
        ("#### Straße", "STRASSE", "correct"),
        ("#### e\u0301tude", "\u00e9tude", "correct"),
        ("The answer is Paris.\nQ: And Italy?\nA: The answer is Rome.", "Paris", "correct"),
        ("The answer is Rome.", "Paris", "wrong"),
        ("The answer is not Paris.", "Paris", "wrong"),
        ("The answer is Paris, not Rome.", "Paris", "correct"),
        ("The answer is Rome. #### Paris", "Paris", "ambiguous"),
        ("The answer is Paris. Wait, it is Rome.", "Paris", "ambiguous"),
        ("Paris", "Paris", "unparsed"),
        ("####", "Paris", "unparsed"),
        ("", "Paris", "unparsed"),
    ],
)
def test_a_text_counts_where_an_anchor_states_it(completion: str, answer: str, verdict: str) -> None:
    found = verify("exact", completion, answer)
    assert found.verdict == verdict, found
    if found.span:
        assert completion[slice(*found.span)] == found.extracted


@pytest.mark.parametrize(
    ("completion", "verdict"),
    [
        (" Paris", "correct"),
        ("paris.", "correct"),
        ("The answer is Paris.", "correct"),
        ("Rome", "wrong"),
        ("", "unparsed"),
    ],
)
def test_a_direct_answer_is_the_whole_text(completion: str, verdict: str) -> None:
    assert verify_direct("exact", completion, "Paris").verdict == verdict


@pytest.mark.parametrize("answer", ["", "   ", "</s>", "\n"])
def test_an_empty_gold_answer_is_refused(answer: str) -> None:
    with pytest.raises(ValueError, match=r"empty|does not verify"):
        check_gold("exact", answer)


@given(st.text(max_size=20))
def test_folding_twice_changes_nothing_and_case_never_matters(text: str) -> None:
    assert fold(fold(text)) == fold(text)
    assert fold(f"  {text}\n ") == fold(text)


@given(st.text(alphabet=st.characters(categories=["L", "N"]), min_size=1, max_size=20))
def test_every_word_verifies_against_itself(word: str) -> None:
    check_gold("exact", word)
    assert verify("exact", f"So the answer is {word}.", word).verdict == "correct"
