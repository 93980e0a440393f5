"""The part of a rationale that reasons: words and numbers outside the statement of the answer."""

from __future__ import annotations

import re
from collections.abc import Sequence

from star_engine.filters.filter_input import FilterInput
from star_engine.tasks.reading.anchors import Rule, find_anchors
from star_engine.tasks.reading.words import tokens

_ANSWER_PHRASE = (
    r"\b(?:(?:therefore|thus|hence|so|then),?\s+)?(?:(?:the|an?|my)\s+)?(?:(?:final|correct|right|best)\s+)?answer\s+"
    r"(?:is|was|must\s+be|should\s+be|would\s+be|has\s+to\s+be|can\s+be)\b"
)
_LABEL = re.compile(r"\(\s*[A-Za-z]\s*\)")
_FUNCTION_WORDS = """
    a an and answer are as be because by choice clear clearly correct definitely final for from hence i in
    is it its must obviously of on option or right should since so that the then there therefore these this
    those thus to was we were which will with would you
"""
_STOPWORDS = frozenset(_FUNCTION_WORDS.split())


def reasoning_text(item: FilterInput) -> str:
    """The completion without what states its answer: `#### x`, `\\boxed{x}`, labels, "the answer is"."""
    text = item.completion
    if working := item.task.layout.working:
        return text.partition(working[1])[0].replace(working[0], " ")
    for anchor in reversed(find_anchors(text)):
        if anchor.rule is not Rule.ANSWER_IS:
            text = text[: anchor.start] + " " + text[anchor.end :]
    gold = r"\s+".join(map(re.escape, item.gold_text.split()))
    phrase = rf"{_ANSWER_PHRASE}(?:\s+(?:(?:an?|the)\s+)?{gold}(?!\w))?"
    return _LABEL.sub(" ", re.sub(phrase, " ", text, flags=re.IGNORECASE))


def content_words(text: str, item: FilterInput) -> list[str]:
    """Tokens that carry content: not a function word, and not merely the gold answer said again."""
    if item.task.layout.working:
        return tokens(text)
    said = set(tokens(item.gold_text))
    return [token for token in tokens(text) if token not in _STOPWORDS and token not in said]


def shared_ngrams(words: Sequence[str], source: Sequence[str], n: int) -> float:
    """Share of the n-grams of `words` that stand in `source`; for a text shorter than n, whether it does."""
    n = min(n, len(words))
    if n == 0:
        return 0.0
    known = {tuple(source[i : i + n]) for i in range(len(source) - n + 1)}
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return sum(gram in known for gram in grams) / len(grams)
