"""Finds the numerals of a sentence, and the one among them that the sentence gives as its result."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

from star_engine.tasks.reading.numbers.number import read_number
from star_engine.tasks.reading.numbers.number_value import Number
from star_engine.tasks.reading.numbers.number_words import NUMBER_WORDS, read_number_words
from star_engine.tasks.reading.numbers.restated import without_restatement
from star_engine.tasks.reading.numbers.result_wording import (
    ASIDE,
    NO_RESULT_BEFORE,
    OPERAND_BEFORE,
    RESULT_BEFORE,
)

Span = tuple[int, int]

_NUMERAL = re.compile(
    r"\d*[¼½¾⅓⅔]|(?:(?<![\w.,:/^])|(?<=[\u3040-\u9fff]))[-−]?[$€£¥₹]?"
    r"(?:\d{1,3}(?:[ \u00a0\u2009\u202f]\d{3})+(?!\d)(?:,\d+)?|\d[\d,.]*(?:/\d+)?(?<![.,]))"
    r"(?:[ ]?(?:×|x|\\times|\\cdot|·|\*)[ ]?10[ ]?\^[ ]?\{?[-−]?\d+\}?)?|(?<=[$€£])\d[\d,.]*(?<![.,])"
)
_ENUMERATED = re.compile(
    r"(?:^|\n)\s*\d{1,2}[.)]\s|\b(?:step|part|case|day|equation|eq\.?|method|option|question|problem|figure"
    r"|table|chapter|page|week|round|grade|class|room|amc|aime)\s+#?\d+",
    re.IGNORECASE,
)
_OF_SO_MANY = re.compile(r"\d\s+(?:\w+\s+)?of\s+(?:the|his|her|their|those|these)\s+$", re.IGNORECASE)
_CONTINENTAL = re.compile(
    r"\b(?:der|die|das|und|ist|sind|noch|insgesamt|zahlt|beträgt|kostet|also|somit|für|le|la|les|est|donc|el|los|es|il|sono|são)\b",
    re.IGNORECASE,
)
_THOUSANDS = re.compile(r"[-−]?[$€£]?\d{1,3}\.\d{3}$")
_IN_BRACKETS = re.compile(r"\([^()\n]*\)")
_SPELT = re.compile(
    rf"\b(?:{'|'.join(sorted(NUMBER_WORDS - {'one'}, key=len, reverse=True))})\b", re.IGNORECASE
)
_WHEN = re.compile(r"^(?:in|after|within)\b", re.IGNORECASE)
_TIME = re.compile(r"\s+(?:second|minute|hour|day|week|month|year)s?\b", re.IGNORECASE)
# "It rained 12 cm more on Monday than on Tuesday": what is compared comes with no number of its own.
_COMPARED = re.compile(
    r"(\s*(?:[^\W\d_]+\s+){0,2}?(?<!\w))(?:more|fewer|less|farther|further|\w{3,}er)\b[^\d.;:\n]*\bthan\b[^\d\n]*$"
    r"|(\s*)(?:more|fewer|less)\b(?=[^\d\n]*$)",
    re.IGNORECASE | re.MULTILINE,
)
_ADVERBS = re.compile(
    r"(?:\b(?:only|exactly|just|still|now|then|therefore|thus|hence|also|a\s+total\s+of|the\s+total\s+of|in\s+total"
    r"|altogether|all\s+together|together|insgesamt|noch|nur|genau|somit|damit|also|donc|encore|au\s+total|en\s+tout"
    r"|en\s+total|in\s+totale|ancora|todavía|quedan?|another|equal)\s+)+[$€£]?$",
    re.IGNORECASE,
)
_AS_SUBJECT = re.compile(r"[$€£\d.,]+\s+(?!of\b)\w+(?:\s+\w+)?\s+(?:are|were|remain|remained)\b")
_WORD_BEFORE = re.compile(r"([^\W\d_]+)[’']?(?:s|re)?\s+[$€£]?$")
_BREAK = re.compile(r"[,;:]|\b(?:and|but|while|or|und|aber|et|mais|y|pero|e|ma)\b", re.IGNORECASE)
MAX_NUMERALS = 12  # of a sentence that gives a result; one with more is a list


def numerals(text: str, begin: int, end: int) -> Iterator[re.Match[str]]:
    """Every numeral of a sentence, but for those that only count something: "Step 2", "1. "."""
    counted = [found.span() for found in _ENUMERATED.finditer(text, begin, end)]
    for found in _NUMERAL.finditer(text, begin, end):
        if not any(first <= found.start() < last for first, last in counted):
            yield found


def numeral_value(numeral: str) -> Fraction | None:
    found = read_number(numeral, 0, len(numeral))
    return found.value if isinstance(found, Number) else None


def result_of(text: str, begin: int, end: int) -> Number | None:
    """The one number that a sentence without an equation gives: "After 3 days she has 42 pens for 7 people".

    Numerals that are said aside ("for 7 people", in brackets) are left out. Of several that remain the last
    one counts where it follows a verb and the others stand in its subject: "the 4 rows hold 36 chairs".
    """
    found = [one.span() for one in numerals(text, begin, end)]
    if len(found) > MAX_NUMERALS:
        return None
    brackets = [one.span() for one in _IN_BRACKETS.finditer(text, begin, end)]
    outside = [one for one in found if not any(first < one[0] < last for first, last in brackets)]
    said = outside or found
    spelt = [one.span() for one in _SPELT.finditer(text, begin, end)]
    spelt = [one for one in spelt if not text[max(begin, one[0] - 2) : one[0] - 1].isdigit()]  # 2 million
    spelt = [one for one in spelt if not any(first < one[0] < last for first, last in brackets)]
    asides = {one: aside for one in (*said, *spelt) if (aside := _aside(text, begin, one[0]))}
    main = [one for one in said if one not in asides]
    words = [one for one in spelt if one not in asides]
    if not main and len(said) == 1 and not words and _lasts(text, said[0], asides[said[0]], end):
        number = read_number(text, said[0][0], end)  # "So the pool is full in 16 minutes"
        return number if isinstance(number, Number) else None
    if not main:
        return _spelt_result(text, words, begin, end) if words and not said else None
    if len(main) == 2 and _is_restated(text, main, end):
        main = main[:1]
    if words and not _stand_before(text, begin, words, main):
        return _said_twice(text, main, words)
    if any(_OF_SO_MANY.search(text[begin : one[0]]) for one in asides):
        return None  # "42 of the 50 pens are blue"
    chosen = _chosen(text, main, begin)
    if chosen is None or OPERAND_BEFORE.search(text, begin, chosen[0]):
        return None
    behind = [one[0] - len(aside) for one, aside in asides.items() if one[0] > chosen[0]]
    compared = _COMPARED.match(text, chosen[1], end)
    behind += (
        [compared.end(compared.lastindex or 0)]
        if compared and not any(one[0] > chosen[0] for one in main)
        else []
    )
    number = read_number(text, chosen[0], min([end, *behind]))
    if not isinstance(number, Number) and len(main) > 1 and chosen == main[0]:
        number = read_number(text, main[-1][0], end)  # "Each pays $12, and that is it: $12"
    return as_written_there(number, text[begin:end], text) if isinstance(number, Number) else None


def _is_restated(text: str, main: Sequence[Span], end: int) -> bool:
    """Whether the second number is the first one again: "36 eggs, or 3 dozen"."""
    value, tail = numeral_value(text[slice(*main[0])]), text[main[0][1] : end]
    return value is not None and not re.search(r"\d", without_restatement(tail, value))


def _lasts(text: str, numeral: Span, aside: str, end: int) -> bool:
    """Whether the only numeral of a sentence says when or for how long: "full in 16 minutes"."""
    if _WHEN.search(aside):
        return True
    return aside.lower().startswith("for ") and _TIME.match(text, numeral[1], end) is not None


def _stand_before(text: str, begin: int, words: Sequence[Span], main: Sequence[Span]) -> bool:
    """Whether words only say how many the subject is: "The two boys drank a total of 36 cups"."""
    first, last = main[0][0], words[-1][1]
    between = text[last:first]
    if last > first or len(between.split()) < 2 or _BREAK.search(text, last, first):
        return False
    return follows_a_verb(text, begin, first)


def are_aside(text: str, begin: int, end: int) -> bool:
    """Whether every numeral of text[begin:end] is said aside: "in 7 days", "for 20 people"."""
    return all(_aside(text, begin, one.start()) for one in numerals(text, begin, end))


def _aside(text: str, begin: int, position: int) -> str:
    """The words in front of a numeral that put it beside the point: "for the next "."""
    found = ASIDE.search(text[max(begin, position - 60) : position])
    return found[0] if found else ""


def as_written_there(number: Number, sentence: str, text: str) -> Number:
    """1.500 is 1500 in a sentence that is German, French, Italian or Spanish."""
    if _THOUSANDS.fullmatch(text[number.start : number.end]) and len(_CONTINENTAL.findall(sentence)) > 1:
        return replace(number, value=number.value * 1000)
    return number


def follows_a_verb(text: str, begin: int, position: int) -> bool:
    """Whether a number stands where a sentence says what something comes to: "has 42", "costs only $42"."""
    before = text[max(begin, position - 80) : position]
    if not re.search(r"\w", before) and _AS_SUBJECT.match(text, position):
        return True
    if says_a_result(text, begin, position):
        return True
    if adverbs := _ADVERBS.search(before):
        before = before[: adverbs.start()]
        if not before.strip():
            return True
    word = _WORD_BEFORE.search(before)
    return (
        word is not None
        and word[1].lower() not in NO_RESULT_BEFORE
        and (word[1].islower() or not before[: word.start()].strip())
    )


def says_a_result(text: str, begin: int, position: int) -> bool:
    """Whether the words in front of a number say that it is a result: "adds up to", "for a total of"."""
    return RESULT_BEFORE.search(text[max(begin, position - 80) : position]) is not None


def _chosen(text: str, main: Sequence[Span], begin: int) -> Span | None:
    values = {numeral_value(text[slice(*one)]) for one in main}
    if len(values) == 1:
        return main[0]
    last, before = main[-1], main[-2]
    if _BREAK.search(text, before[1], last[0]) or not follows_a_verb(text, begin, last[0]):
        return None
    return last


def _said_twice(text: str, main: Sequence[Span], words: Sequence[Span]) -> Number | None:
    """The number of "ten thousand (10,000)"; None where words and numerals differ."""
    first, last = words[0][0], words[-1][1]
    said = read_number_words(text[first:last])
    if said is None or {numeral_value(text[slice(*one)]) for one in main} != {Fraction(said)}:
        return None
    return Number(Fraction(said), False, first, last)


def _spelt_result(text: str, words: Sequence[Span], begin: int, end: int) -> Number | None:
    """The five of "That leaves five apples in the basket."."""
    first, last = words[0][0], words[-1][1]
    value = read_number_words(text[first:last])
    if value is None or not follows_a_verb(text, begin, first):
        return None
    rest = read_number(f"{value}{text[last:end]}", 0, end - last + len(str(value)))
    if not isinstance(rest, Number) or rest.value != value or rest.percent:
        return None
    return Number(Fraction(value), False, first, last)
