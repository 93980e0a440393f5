"""Finds where a rationale speaks of an answer that it was shown, instead of arguing from the question.

What a hint can leak into a text is of five kinds; `hint_wording` says how each is worded:

| kind      | example                                                                           |
| --------- | --------------------------------------------------------------------------------- |
| mark      | "blotter (CORRECT)", "the hint says", "the prompt", "they flagged"                |
| origin    | "the given answer", "the answer we were provided with", "72, as stated"           |
| premise   | "since the answer is 72", "knowing that it comes to 72"                           |
| goal      | "we need to get 72", "to arrive at the given answer", "why is it (b)?"            |
| agreement | "matches the expected result", "that is not 72 though", "working back from 72"    |

Three rules keep honest texts out. The gold answer is a class of its own, and none where the question says
it too: "we need to get 20 passengers off" is another goal. A word that the question itself uses says
nothing about a hint: "the marked price", "the hints of a treasure hunt", "the expected value". And the
loosest wordings count only for a number that is named before anything was calculated.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from itertools import pairwise

from star_engine.filters.filter_input import FilterInput
from star_engine.filters.hint_wording import CLASSES, GOLD, LEAKS, OPERATOR, TOO_EARLY, templates

# What a question may be about, so that its own use of the word explains it; "answer" never is.
_ABOUT = ("MARKED", "AWAITED", "ASKED", "RESULT", "VALUE", "RIGHT", "BRACKET")
_TOPICS = frozenset(word for name in _ABOUT for word in CLASSES[name].split()) | {
    "hint", "hints", "hinted", "prompt", "annotation", "key", "label", "instructions", "user", "back",
    "backwards", "choice", "option", "rationale",
}  # fmt: skip
_IGNORED = frozenset(CLASSES["IGNORED"].split())
_ANSWER_LIST = frozenset({"choices", "options", "sheet"})  # "the given answer choices" are no answer

_WORD = re.compile(
    rf"{GOLD}|{OPERATOR}|[^\W\d_]+(?:-[^\W\d_]+)*|\d+(?:[.,]\d+)*|'s\b|[,:;—–()]",
)
_OPERATOR = re.compile(r"(?<=[\s\d)])[-+*/×÷^·=](?=\s*[\d(<$])|(?<=\s)x(?=\s*\d)")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_MARKDOWN = re.compile(r"\*\*|__|[`\"“”✓✅]")
_FRACTION = re.compile(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}")
_ARTICLE = re.compile(r"^(?:an?|the)\s+(?=\w{3})")
# A sentence with one of these words is no beginning: something was concluded or is checked.
_LATER = frozenset({*CLASSES["SO"].split(), "verify", "check", "actually"})
_SHOUTED = re.compile(r"\bCORRECT\b")


def hint_talk(item: FilterInput) -> str | None:
    """The first sentence of the completion that speaks of a shown answer; None if none does."""
    said = _gold_pattern(item.answer, item.gold_text if item.choices else None)
    gold = None if said.search(item.question.casefold()) else said
    topics = _TOPICS.intersection(re.findall(r"[^\W\d_]+", item.question.casefold()))
    sentences = [one for one in _SENTENCE_END.split(_MARKDOWN.sub("", item.completion)) if one.strip()]
    read = [_read(sentence, gold, topics) for sentence in sentences]
    number = item.choices is None and re.search(r"\d", item.answer)
    early = _before_any_calculation(read) if number else None
    for place, (sentence, words) in enumerate(zip(sentences, read, strict=True)):
        tried = (*_leaks(), *templates(TOO_EARLY)) if place == early else _leaks()
        shouted = _SHOUTED.search(sentence) and not sentence.isupper()
        if shouted or any(template.search(words) for template in tried):
            return sentence.strip()
    return None


@cache
def _leaks() -> tuple[re.Pattern[str], ...]:
    return tuple(one for block in LEAKS.values() for one in templates(block))


def _before_any_calculation(read: list[str]) -> int | None:
    """Which sentence names the gold answer before anything was calculated, though something is behind it."""
    for place, words in enumerate(read):
        before, found, behind = words.partition(GOLD)
        if found:
            later = " ".join([behind, *read[place + 1 :]])
            concluded = {*before.split(), *" ".join(read[:place]).split()} & _LATER
            return place if OPERATOR in later and OPERATOR not in before and not concluded else None
        if OPERATOR in words or re.search(r"\d", words):
            return None
    return None


def _read(sentence: str, gold: re.Pattern[str] | None, topics: frozenset[str]) -> str:
    """The sentence as words, each with a space behind it: folded, without what is of no matter."""
    text = _FRACTION.sub(r"\1/\2", sentence).casefold().replace("’", "'")
    text = re.sub(
        r"n't\b", " not", re.sub(r"'re\b", " are", re.sub(r"\b(it|that|there)'s\b", r"\1 is", text))
    )
    if gold is not None:
        text = gold.sub(f" {GOLD} ", text)
        text = re.sub(rf"{GOLD}(?:[\s,:(–-]*{GOLD}\)?)+", GOLD, text)  # "flashlight (c)" is said once
    found = _WORD.findall(_OPERATOR.sub(f" {OPERATOR} ", text))
    kept = (word for word in found if word not in _IGNORED)
    words = ["," if word in "—–():;" else word.replace("-", "") for word in kept]
    seen = "".join(f"{_topical(word, behind, topics)} " for word, behind in pairwise([*words, ""]))
    return re.sub(r"^(?:, )+|(?<=, )(?:, )+|(?:, )+$", "", seen)


def _topical(word: str, behind: str, topics: frozenset[str]) -> str:
    if word in ("answer", "choice", "option") and behind in _ANSWER_LIST:
        return "answer_list"
    if word == "answer" and behind == "key":
        return "answer_key" if "key" not in topics else "_"
    return "_" if word in topics and behind != "answer" else word


@lru_cache(maxsize=4096)
def _gold_pattern(answer: str, choice: str | None) -> re.Pattern[str]:
    """What says the gold answer in a folded text: the number, the letter or the text of the right choice."""
    if choice is not None:
        letter = re.escape(answer.strip().strip("().").casefold())
        said = r"\s+".join(map(re.escape, _ARTICLE.sub("", choice.casefold()).split()))
        bare = "" if letter in "ai" else rf"|(?:(?<=\bis )|(?<=says )|(?<=\bbe )|(?<=that )){letter}\b"
        named = rf"\b{letter}(?=\s+(?:is|must be)\s+(?:the\s+)?(?:right|correct|answer)\b)"
        bare = f"{bare}|{named}"
        return re.compile(rf"\({letter}\)|(?:option|choice|answer)\s+{letter}\b{bare}|(?<!\w){said}(?!\w)")
    folded = _FRACTION.sub(r"\1/\2", answer).casefold().strip()
    plain = folded.replace(",", "").strip("$ ")
    if re.fullmatch(r"-?\d+", plain):
        digits = ",?".join(plain)
        return re.compile(rf"(?<![\w.,/^-])[$€£]?\s?{digits}(?:\.0+)?(?![\d/^]|[.,]\d|\s*%)")
    return re.compile(rf"(?<![\w.]){re.escape(folded)}(?![\w/])")
