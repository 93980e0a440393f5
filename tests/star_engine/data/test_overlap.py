"""N-grams of words: the same whatever the case, the punctuation and the alphabet beside them."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from star_engine.data.overlap import NGRAM, ngram_hashes, seen_hashes, share_seen

LONG = "Nine apples and ten pears lie in a bowl"
ASCII = st.text(st.characters(max_codepoint=127), max_size=60)


@given(ASCII)
def test_words_of_ascii_are_those_that_any_text_has(text: str) -> None:
    words = re.findall(r"\w+", text.casefold())
    padding = "x " * NGRAM
    of_words = ngram_hashes(f"{' '.join(words)} {padding}")
    assert ngram_hashes(f"{text} {padding}") == of_words
    assert ngram_hashes(f"{text} {padding}\N{EM DASH}") == of_words


def test_the_share_of_a_question_counts_what_stands_in_others() -> None:
    seen = seen_hashes(ngram_hashes(LONG), [f"{LONG.upper().removesuffix(' BOWL')}, a «basket»."])
    assert share_seen(LONG, seen) == 0.5
    assert share_seen("too short", seen) is None
