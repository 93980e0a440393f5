"""Turns calculations in words and with units into bare equations: "half of 10 is 6" into "1/2 * 10 = 6".

Only what can mean one thing is turned. Words that change a value ("dozen", "more", "percent") and sums of
different units ("1 hour + 30 minutes") are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from star_engine.tasks.reading.numbers.number_words import NUMBER_WORDS, read_number_words

_DIGITS = r"[$€£]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?(?![0-9,]*[0-9]|%|/[0-9])"
_WORD = "|".join(sorted(NUMBER_WORDS - {"hundred", "thousand", "million"}, key=len, reverse=True))
_NUMBER = rf"(?:{_DIGITS}|\b(?:{_WORD})\b(?![ -](?:{_WORD}|hundred|thousand|million)\b))"
# What is no unit: it counts the number again, or makes it a part of something else.
_NO_UNIT = (
    "dozens?|hundreds?|thousands?|millions?|billions?|percent|per|half|halves|thirds?|quarters?|fourths?|fifths?"
    "|tenths?|times|more|less|fewer|as|of|and|plus|minus|multiplied|divided|over|equals?|is|are|was|were|makes?"
    "|gives?|remainder|with|or|than|to|in|for|a|an|the|x|each|squared|cubed|if|so|then|but|because|since|which"
    "|leaving|leaves|left"
)
_UNIT = rf"(?:[ -](?!(?:{_NO_UNIT})\b)[a-z]+(?:/[a-z]+)?)?"
_OPERATORS = {
    "plus": "+", "added to": "+", "minus": "-", "times": "*", "multiplied by": "*", "divided by": "/",
}  # fmt: skip
_SIGN = r"[-+*/×÷−]"
_IS = r"(?:,?[ ](?:which[ ])?(?:is[ ]equal[ ]to|equals|makes|gives|is|are)|[ ]?=)[ ]"
_PARTS = {
    "half of": "1/2",
    "twice": "2",
    "double": "2",
    "triple": "3",
    "a third of": "1/3",
    "one third of": "1/3",
    "a quarter of": "1/4",
    "one quarter of": "1/4",
    "a fourth of": "1/4",
}
# Nothing before it that would make it a part of another calculation.
_ALONE = (
    r"(?<![\w.,$€£+*/×÷−=%<>-])(?<![+*/×÷−=%-][ ])(?<!\b(?:of|by|to)[ ])(?<!\band[ ])(?<!\bplus[ ])"
    r"(?<!\b(?:twice|minus|times)[ ])(?<!\b(?:double|triple)[ ])"
)
_END = (
    r"(?!\w|[.,]\d|%|/[0-9]|[ ]?[-+*/×÷−^=]|[ ](?:times|of|and|plus|minus|more|less|fewer|percent|dozen"
    r"|hundred|thousand|million|billion|multiplied|divided|remainder|with|half|halves|thirds?|quarters?|cents?|x)\b)"
)
_PLAIN = re.compile(r"[^A-Za-z]*")  # neither word nor unit: an equation that needs no turning


def _term(name: str) -> str:
    return rf"(?P<{name}>{_NUMBER})(?P<{name}_unit>{_UNIT})"


_JOINED = re.compile(
    rf"{_ALONE}{_term('left')}[ ](?P<sign>{'|'.join(_OPERATORS)}|{_SIGN})[ ]{_term('right')}"
    rf"{_IS}{_term('result')}{_END}",
    re.IGNORECASE,
)
_SHARED = re.compile(
    rf"{_ALONE}(?P<part>{'|'.join(_PARTS)})[ ]{_term('right')}{_IS}{_term('result')}{_END}",
    re.IGNORECASE,
)


def worded_equations(text: str) -> Iterator[tuple[str, str, str]]:
    """(left, right, as written) of each calculation in words or with units."""
    for found in _JOINED.finditer(text):
        sign = _OPERATORS.get(found["sign"].lower(), found["sign"])
        if not _PLAIN.fullmatch(found[0]) and _one_unit(sign, found):
            left = f"{_bare(found['left'])} {sign} {_bare(found['right'])}"
            yield left, _bare(found["result"]), found[0]
    for found in _SHARED.finditer(text):
        if _unit(found, "right") == _unit(found, "result") or not _unit(found, "result"):
            part = _PARTS[found["part"].lower()]
            yield f"({part}) * {_bare(found['right'])}", _bare(found["result"]), found[0]


def _one_unit(sign: str, found: re.Match[str]) -> bool:
    """Whether the units allow the numbers to be taken as they are."""
    units = [unit for name in ("left", "right", "result") if (unit := _unit(found, name))]
    if sign in "+-−":
        return len(set(units)) <= 1
    result = _unit(found, "result")
    operands = {_unit(found, "left"), _unit(found, "right")} - {""}
    return not result or not operands or any(result in operand.split("/") for operand in operands)


def _unit(found: re.Match[str], name: str) -> str:
    """Return the unit in the singular: "4 apples" and "1 apple" share one, and so do "$4" and "4 dollars"."""
    unit = found[f"{name}_unit"].strip(" -").lower()
    if not unit and found[name].startswith("$"):
        return "dollar"
    return "/".join(re.sub(r"(?<=[^s])s$", "", re.sub(r"ies$", "y", one)) for one in unit.split("/"))


def _bare(number: str) -> str:
    value = read_number_words(number)
    return number.replace(",", "").lstrip("$€£") if value is None else str(value)
