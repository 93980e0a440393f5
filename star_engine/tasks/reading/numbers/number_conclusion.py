"""Reads the number that a text concludes with where no phrase says "the answer": "So she has 42 pens."

Only the last sentence is read, only where it is clearly a conclusion, and only where it holds one candidate.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from star_engine.tasks.reading.correction import is_polite
from star_engine.tasks.reading.final_text import FinalText
from star_engine.tasks.reading.numbers.number import read_number
from star_engine.tasks.reading.numbers.number_value import Flaw, Number
from star_engine.tasks.reading.numbers.number_words import NUMBER_WORDS
from star_engine.tasks.reading.phrases import any_of, words

Span = tuple[int, int]

MAX_CHARACTERS = 600  # of a sentence that concludes; a longer one is run-on text

_CONCLUDES = re.compile(
    r"^[\W_]*"
    + any_of(
        """so, therefore, thus, hence, consequently, finally, altogether, overall, as a result, accordingly
        in (total|all|conclusion|summary|the end), to conclude, this means, that means
        also, daher, insgesamt, donc, por lo tanto"""
    )
    + r"\b|^[^\w]*∴|\b(?:in\s+total|altogether|in\s+all)[\W_]*$"
    r"|^[\W_]*(?:total|result|ergebnis|sum|final\s+\w+|(?:grand\s+)?total\s+[\w\s]{1,30}?)\s*[:=]"
    r"|^[\W_]*(?:conclusion|summary)\s*:|[,;]\s*(?:so|therefore|thus|hence)\s",
    re.IGNORECASE,
)
# What makes the last sentence something else than a plain conclusion.
_UNCERTAIN = re.compile(
    words(
        r"""not, cannot, never, no, none, neither, nor, if, unless, whether, suppose, assum\w+, might
        (?-i:may)
        could, would, perhaps, maybe, possibly, probably, likely, about, approximately, roughly, around
        nearly
        almost, at (least|most), (more|less|fewer|greater|other) than, up to, between, either, or, seems?
        appears?
        wrong, incorrect, false, mistake, half, twice, double[sd]?, triple[sd]?, thrice, need(s|ed)? to
        have to
        let'?s, let (us|me), next, first, step, we can, we will, so far, (each|some|one) of, out of
        except, instead
        before, part of, rest of, estimate\w*, question, remaining \d+, too"""
    )
    + r"|n['’]t\b|[?≈~±<>≤≥…]",
    re.IGNORECASE,
)
_NUMERAL = re.compile(
    r"(?<![\w.,:/^])[-−]?[$€£¥₹]?\d[\d,.]*(?:/\d+)?(?<![.,])|(?<=[$€£])\d[\d,.]*(?<![.,])|[¼½¾⅓⅔]"
)
_ENUMERATED = re.compile(
    r"(?:^|\n)\s*\d{1,2}[.)]\s|\b(?:step|part|case|day|equation|eq\.?|method|option|question|problem|figure|table)\s+#?\d+",
    re.IGNORECASE,
)
_COPULA = re.compile(
    r"\b(?:is|are|was|were|be|equals?|costs?|makes|of)\s+(?:only\s+|exactly\s+|therefore\s+|a\s+total\s+of\s+)?$",
    re.IGNORECASE,
)
_OPERAND_BEFORE = re.compile(
    words(
        r"""by, than, from, (?<!left\s)(?<!up\s)with, step, question, of (the|those|these), per, for
        add(ing)?, subtract(ing)?, plus, minus, times, another, other"""
    )
    + r"\s+$|[-+*/×÷−^(]\s*$",
    re.IGNORECASE,
)
_SO = re.compile(r"[,;]\s*(?:so|therefore|thus|hence)\s", re.IGNORECASE)
_EXPLANATION = re.compile(
    r"\n[^\w\n]*(?:explanation|reasoning|breakdown|justification|here['’]s\s+(?:why|how))\b[^\n\w]*(?:\n|:)",
    re.IGNORECASE,
)
_REASON = re.compile(r",?\s(?:because|since)\b", re.IGNORECASE)
_WORDS = re.compile(r"[a-z]+", re.IGNORECASE)


def concluded_number(final: FinalText) -> Number | None:
    """The number that the text concludes with, or that its part before an explanation does."""
    if explained := _EXPLANATION.search(final.text, 1, final.end):
        before = replace(final, end=explained.start())
        if number := _concluded(before):
            return number
    return _concluded(final)


def _concluded(final: FinalText) -> Number | None:
    """The number, or None where the end of the text is no certain conclusion."""
    span = _last_sentence(final)
    if span is None or final.speaks(*span):
        return None
    return number_of_sentence(final, span)


def number_of_sentence(final: FinalText, span: Span, *, concludes: bool = False) -> Number | None:
    """The number that one sentence comes to. `concludes`: something before it says that it is the answer."""
    begin, end = span
    if end - begin > MAX_CHARACTERS:
        return None
    if reason := _REASON.search(final.text, begin, end):
        end = reason.start()
        span = begin, end
    line_begin = final.text.rfind("\n", 0, begin) + 1
    sentence = final.text[begin:end]
    if line_begin == begin or not final.text[line_begin:begin].strip():
        alone = _alone(final, begin, end)
        if alone:
            return alone
    if _UNCERTAIN.search(sentence):
        return None
    bold = [
        b
        for b in final.plain.bold
        if begin <= b[0] and b[1] <= end and re.search(r"\d", final.text[slice(*b)])
    ]
    emphasised = len(bold) == 1
    if emphasised and (number := _in_bold(final.text, bold[0], span)):
        return number
    if not (emphasised or concludes or _CONCLUDES.search(sentence)):
        return None
    if (so := list(_SO.finditer(final.text, begin, end))) and any(numerals(final.text, so[-1].end(), end)):
        begin = so[-1].end()
    return _in_sentence(final.text, begin, end)


def only_number(text: str, begin: int, end: int) -> Number | None:
    """The number of a part of a sentence that holds one numeral: "We get 42" (as the final answer)."""
    found = list(numerals(text, begin, end))
    if (
        len(found) != 1
        or _UNCERTAIN.search(text, begin, end)
        or _OPERAND_BEFORE.search(text, begin, found[0].start())
    ):
        return None
    number = read_number(text, found[0].start(), end)
    return number if isinstance(number, Number) else None


def numerals(text: str, begin: int, end: int) -> Iterator[re.Match[str]]:
    """Every numeral of a sentence, but for those that only count something: "Step 2", "1. "."""
    counted = [found.span() for found in _ENUMERATED.finditer(text, begin, end)]
    for found in _NUMERAL.finditer(text, begin, end):
        if not any(first <= found.start() < last for first, last in counted):
            yield found


def numeral_value(numeral: str) -> Fraction | None:
    found = read_number(numeral, 0, len(numeral))
    return found.value if isinstance(found, Number) else None


def _last_sentence(final: FinalText) -> Span | None:
    """The last one that is more than politeness, emoji or a rule of dashes."""
    ends = [end for end in final.sentences.ends if end <= final.end] or [final.end]
    if ends[-1] < final.end:
        ends.append(final.end)
    for number in range(len(ends) - 1, max(-1, len(ends) - 9), -1):
        begin = ends[number - 1] if number else 0
        begin += len(final.text[begin : ends[number]]) - len(final.text[begin : ends[number]].lstrip())
        end = begin + len(final.text[begin : ends[number]].rstrip())
        if not is_polite(final.text[begin:end]):
            return begin, end
    return None


def _alone(final: FinalText, begin: int, end: int) -> Number | None:
    """A last line that is a number, with a unit at most: "42 pens"."""
    if "=" in final.text[begin:end] or re.search(r"\d.*\s[a-z]+\s[a-z]+\s[a-z]+", final.text[begin:end]):
        return None
    number = read_number(final.text, begin, end)
    if not isinstance(number, Number) or re.search(r"\w", final.text[begin : number.start]):
        return None
    if not re.search(r"\d", final.text[number.start : number.end]):
        return None  # "Two years have passed"
    previous = final.text[:begin].rstrip().rpartition("\n")[2]
    return (
        None
        if isinstance(read_number(previous, 0, len(previous)), Number) and "=" not in previous
        else number
    )


def _in_bold(text: str, bold: Span, sentence: Span) -> Number | None:
    """The number of the only bold part with one, where the bold part is not the whole sentence."""
    if bold[0] - sentence[0] < 3 and sentence[1] - bold[1] < 3:
        return None
    number = read_number(text, *bold)
    if not isinstance(number, Number) or _OPERAND_BEFORE.search(text, sentence[0], bold[0]):
        return None
    return None if _changed_behind(text, number, sentence[1]) else number


def _changed_behind(text: str, number: Number, end: int) -> bool:
    """Whether what follows a bold number continues a calculation."""
    return (
        re.match(
            r"[\s*)]*(?:[-+*/×÷=^]|of\b|%|percent|thousand|million|billion|dozen|hundred|times)",
            text[number.end : end],
        )
        is not None
    )


def _in_sentence(text: str, begin: int, end: int) -> Number | None:
    equals = text.rfind("=", begin, end)
    found = list(numerals(text, equals + 1 if equals >= 0 else begin, end))
    if not found or (equals >= 0 and text[equals + 1 : found[0].start()].strip(" $€£*-−(")):
        return None
    if any(word.lower() in NUMBER_WORDS for word in _WORDS.findall(text[begin:end])):
        return None
    values = {numeral_value(one[0]) for one in found}
    chosen = found[0]
    if equals < 0 and len(values) > 1:
        chosen = found[-1]
        if not _COPULA.search(text, begin, chosen.start()):
            return None
    if equals < 0 and _OPERAND_BEFORE.search(text, begin, chosen.start()):
        return None
    number = read_number(text, chosen.start(), end)
    return None if isinstance(number, Flaw) else number
