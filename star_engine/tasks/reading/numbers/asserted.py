"""Finds a gold number that a text says before anything in it was calculated."""

from __future__ import annotations

import re

from star_engine.tasks.reading.numbers.number import read_number
from star_engine.tasks.reading.numbers.number_value import Number
from star_engine.tasks.reading.numbers.number_words import read_number_words
from star_engine.tasks.reading.words import tokens

_NUMBER = re.compile(r"[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?")
_OPERATION = re.compile(
    r"[-+*/×÷=−%^]|\b(?:x|times|plus|minus|half|twice|double|sum|total|each|per|and)\b", re.IGNORECASE
)


def number_out_of_nowhere(question: str, answer: str, text: str) -> int | None:
    """The gold number where nothing has been calculated yet, though the question does not hold it."""
    gold = read_number(answer, 0, len(answer))
    if not isinstance(gold, Number):
        return None
    asked = {found[0].replace(",", "") for found in _NUMBER.finditer(question)}
    asked |= {str(read_number_words(word)) for word in tokens(question)}
    if gold.canonical in asked:
        return None
    operation = _OPERATION.search(text)
    until = operation.start() if operation else len(text)
    for found in _NUMBER.finditer(text, 0, until):
        is_operand = operation and not operation[0].isalpha() and found.end() + 2 >= until
        if found[0].replace(",", "") == gold.canonical and not is_operand:
            return found.start()
    return None
