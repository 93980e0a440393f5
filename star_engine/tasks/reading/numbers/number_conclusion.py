"""Reads the number that a text concludes with where no phrase says "the answer": "So she has 42 pens."

Only one sentence is read: the last, or the one before a check, a note or an explanation at the end. It must
say that it concludes, end in a calculation, repeat the result of the calculation before it, or say of
something that it is so many; and it must hold one candidate. Everything else is no conclusion.
"""

from __future__ import annotations

import re
from dataclasses import replace

from star_engine.tasks.reading.final_text import FinalText
from star_engine.tasks.reading.numbers.calculation import (
    calculated,
    calculated_before,
    calculated_reason,
    ends_in_calculation,
)
from star_engine.tasks.reading.numbers.doubt import does_not_stand, is_uncertain
from star_engine.tasks.reading.numbers.ending import alone_on_line, endings, last_sentence, total_of_row
from star_engine.tasks.reading.numbers.number import read_number
from star_engine.tasks.reading.numbers.number_value import Number
from star_engine.tasks.reading.numbers.numerals import (
    follows_a_verb,
    numeral_value,
    numerals,
    result_of,
    says_a_result,
)
from star_engine.tasks.reading.numbers.result_wording import (
    AT_THE_START,
    CONCLUDES,
    GIVES_UP,
    GOES_ON,
    OPERAND_BEFORE,
    PLANS,
    REMARKS,
    RESULT_ALONE,
    UNCERTAIN,
    VERIFIES,
)
from star_engine.tasks.reading.numbers.steps import is_one_of_a_list, is_operand
from star_engine.tasks.reading.standing import is_doubted_calculation

Span = tuple[int, int]

MAX_CHARACTERS = 600  # of a sentence that concludes; a longer one is run-on text

_SO = re.compile(
    r"[,;]\s*(?:so|therefore|thus|hence|which\s+means(?:\s+that)?|(?:which\s+leaves|leaving)(?:\s+\w+\s+with)?"
    r"|which\s+(?:gives|makes)|giving|making|for\s+a\s+total\s+of"
    r"|which\s+(?:is|equals|comes\s+to)(?=\s+[$€£]?\d[\d,.]*(?:\s+\w+)?[.!]?\s*$))\s|(?:→|⇒|[=-]>)\s*(?=[$€£]?\d)",
    re.IGNORECASE,
)
_INTRODUCTION = re.compile(
    r"[\W_]*(?:(?:so|then|therefore|thus|hence|finally|now)\b,?\s+)?"
    r"(?:after|with|in|for|at|by|over|from|during|on|given|when|once|since|because|out\s+of|of|\w+ing)\s[^,;:\n]{2,100},\s",
    re.IGNORECASE,
)
_RESULT_HEADING = re.compile(r"\b(?:result|answer|conclusion|final|total)\b[^\w\n]*$", re.IGNORECASE)
_REASON = re.compile(r",?\s(?:because|since|as(?=\s+(?:you|he|she|it|they|we|i|there)\b))\b", re.IGNORECASE)
_CONTINUED = re.compile(r",[^,]*=")  # "since each has 20, there are 10 * 20 = 200"
_ROUNDS = re.compile(
    r"\bround(?:s|ed|ing)?(?:\s+(?:it|this|that))?(?:\s+(?:up|down|off))?\s+to\s+(?=[$€£]?\d)", re.IGNORECASE
)
_AGAIN = re.compile(r",\s*(?:i\.e\.|that\s+is|in\s+other\s+words),?\s", re.IGNORECASE)
_EACH = re.compile(r"\W*(?:each|every)\b", re.IGNORECASE)


_TOLD = re.compile(
    r"\b(?:we|i)\s+(?:know|see|are\s+(?:told|given))\b|\b(?:given|recall|note|remember|starts?|started|begins?|began|says?)\b",
    re.IGNORECASE,
)
_DENIES = re.compile(r"\b(?:not|never|cannot|no)\b|n['’]t\b|\?", re.IGNORECASE)


def concluded_number(final: FinalText) -> Number | None:
    """The number that the text concludes with, or that its part before a check or an explanation does."""
    for part in endings(final):
        if number := _concluded(part, explained=part.end < final.end):
            return number
    return None


def says_that_it_concludes(final: FinalText, number: Number) -> bool:
    """Whether the sentence of a concluded number has a word for it: "so", "in total"."""
    sentence = final.sentences.around(number.start, number.end)
    return CONCLUDES.search(final.text[slice(*sentence)]) is not None


def _concluded(final: FinalText, *, explained: bool) -> Number | None:
    """The number, or None where the end of the text is no certain conclusion. `explained`: more follows."""
    span = last_sentence(final)
    if span is None or final.speaks(*span):
        return None
    number = number_of_sentence(final, span, explained=explained)
    if number or not REMARKS.search(final.text, *span) or _says_more(final, span):
        return number
    before = last_sentence(replace(final, end=span[0]))
    if before is None or final.speaks(*before) or not _is_backed(final, before):
        return None
    return number_of_sentence(final, before)


def _says_more(final: FinalText, span: Span) -> bool:
    """Whether a remark behind a conclusion is more than one: it has a number, a doubt, or goes on."""
    sentence = final.text[slice(*span)]
    return any(numerals(final.text, *span)) or any(p.search(sentence) for p in (UNCERTAIN, GOES_ON))


def number_of_sentence(
    final: FinalText, span: Span, *, concludes: bool = False, explained: bool = False
) -> Number | None:
    """The number that one sentence comes to.

    `concludes`: something before it says that it is the answer. `explained`: it is checked or explained.
    """
    if span[1] - span[0] > MAX_CHARACTERS:
        return None
    text = final.text
    reason = _REASON.search(text, *span)
    if reason and (backed := _backed_by_reason(text, span[0], reason, span[1])):
        return backed
    if reason and not _CONTINUED.search(text, reason.end(), span[1]):
        explained |= any(numerals(text, reason.end(), span[1]))
        span = span[0], reason.start()
    if not text[text.rfind("\n", 0, span[0]) + 1 : span[0]].strip() and (
        alone := alone_on_line(final, *span) or total_of_row(text, *span)
    ):
        return alone
    sentence = text[slice(*span)]
    calculates = ends_in_calculation(sentence)
    if is_uncertain(text, span, calculates=calculates) or VERIFIES.search(sentence):
        return None
    bold = [b for b in final.plain.bold if span[0] <= b[0] and b[1] <= span[1] and any(numerals(text, *b))]
    if len(bold) == 1 and (number := _in_bold(text, bold[0], span)):
        return number
    concludes = concludes or len(bold) == 1 or CONCLUDES.search(sentence) is not None
    part = _concluding_part(text, *span)
    number = _in_sentence(text, *part)
    if number is None or does_not_stand(final, span, part[0], number, calculates=calculates):
        return None
    if concludes or _says_so(text, span, part) or _is_result(final, number, span, explained):
        return number
    return None


def _backed_by_reason(text: str, begin: int, reason: re.Match[str], end: int) -> Number | None:
    """The 5 of "He has to do 5 tasks a month because 50 / 10 = 5"."""
    value = calculated_reason(text, reason.end(), end)
    sentence = text[begin : reason.start()]
    if value is None or _DENIES.search(sentence) or is_doubted_calculation(sentence):
        return None
    same = [one for one in numerals(text, begin, reason.start()) if numeral_value(one[0]) == value]
    if len(same) != 1:
        return None
    before = text[begin : same[0].start()]
    if OPERAND_BEFORE.search(before) and not before.endswith("by "):  # "Reggie loses by 2"
        return None
    number = read_number(text, same[0].start(), same[0].end())
    return number if isinstance(number, Number) else None


def _says_so(text: str, span: Span, part: Span) -> bool:
    """Whether a part of a sentence begins behind a word that concludes, and not behind an introduction."""
    introduction = _INTRODUCTION.match(text, *span)
    return part[0] > (introduction.end() if introduction else span[0])


def _concluding_part(text: str, begin: int, end: int) -> Span:
    """Of a sentence what is behind its last ", so", "i.e." or "rounded to", where a number is there."""
    introduction = _INTRODUCTION.match(text, begin, end)
    if introduction and any(numerals(text, introduction.end(), end)):
        begin = introduction.end()
    so = [found.end() for found in _SO.finditer(text, begin, end)]
    if so and any(numerals(text, so[-1], end)):
        begin = so[-1]
    if again := _AGAIN.search(text, begin, end):
        if not any(numerals(text, again.end(), end)):
            return begin, again.start()
        begin = again.end()
    rounds = _ROUNDS.search(text, begin, end)
    return (rounds.end() if rounds else begin), end


def _in_sentence(text: str, begin: int, end: int) -> Number | None:
    """Behind the last equals sign of a calculation, else the only number that is said of something."""
    return calculated(text, begin, end) if text.rfind("=", begin, end) >= 0 else result_of(text, begin, end)


def _is_result(final: FinalText, number: Number, span: Span, explained: bool) -> bool:
    """Whether a sentence that does not say that it concludes gives a result all the same."""
    text, (begin, end) = final.text, span
    calculates = "=" in text[begin : number.start]
    if (AT_THE_START.search(text, begin, end) and not calculates) or GIVES_UP.search(text, 0, begin):
        return False
    if PLANS.search(text, begin, end) and not _is_backed(final, span):
        return False
    if not calculates and is_operand(text, begin, number):
        return False
    if calculates and is_one_of_a_list(text, begin):
        return False
    if calculates or calculated_before(text, begin) == number.value:
        return True
    if not _is_closed(text, end) or not follows_a_verb(text, begin, number.start):
        return False
    introduction = _INTRODUCTION.match(text, begin, number.start)
    if any(numerals(text, 0, introduction.end() if introduction else begin)):
        return True
    if says_a_result(text, begin, number.start):
        return True
    heading = _RESULT_HEADING.search(text[max(0, begin - 60) : begin].rstrip()) is not None
    alone = not re.search(r"\w", text[:begin]) and text[begin:end].rstrip().endswith((".", "!", "。"))
    if alone and not any(pattern.search(text, begin, end) for pattern in (_TOLD, _EACH)):
        return True  # a whole sentence, and all of the text
    says_so = explained or heading or final.part[0] > 0 or RESULT_ALONE.search(text, begin, end) is not None
    return says_so and (explained or not _EACH.match(text, begin, end))


def _is_closed(text: str, end: int) -> bool:
    """Whether a sentence has not merely been cut at its end."""
    if text[:end].rstrip().endswith((".", "!", "。", ")")) or end >= len(text.rstrip()):
        return True
    return text[end : end + 1] == "\n" or _REASON.match(text, end) is not None


def _is_backed(final: FinalText, span: Span) -> bool:
    """Whether a sentence says that it concludes, or gives what the calculation before it came to."""
    if CONCLUDES.search(final.text, *span) or "=" in final.text[slice(*span)]:
        return True
    number = _in_sentence(final.text, *span)
    return number is not None and calculated_before(final.text, span[0]) == number.value


def only_number(text: str, begin: int, end: int) -> Number | None:
    """The number of a part of a sentence that holds one numeral: "We get 42" (as the final answer)."""
    found = list(numerals(text, begin, end))
    if (
        len(found) != 1
        or UNCERTAIN.search(text, begin, end)
        or OPERAND_BEFORE.search(text, begin, found[0].start())
    ):
        return None
    number = read_number(text, found[0].start(), end)
    return number if isinstance(number, Number) else None


def _in_bold(text: str, bold: Span, sentence: Span) -> Number | None:
    """The number of the only bold part with one, where the bold part is not the whole sentence."""
    if bold[0] - sentence[0] < 3 and sentence[1] - bold[1] < 3:
        return None
    number = read_number(text, *bold)
    if not isinstance(number, Number) or OPERAND_BEFORE.search(text, sentence[0], bold[0]):
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
