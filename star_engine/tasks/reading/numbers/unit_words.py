"""Which words behind a number are its unit, and which make it another number or an uncertain one."""

from __future__ import annotations

import re

from star_engine.tasks.reading.numbers.number_words import NUMBER_WORDS
from star_engine.tasks.reading.phrases import any_of

_UNIT_LETTERS = frozenset("mgshlLWVAJNCF")  # "72x" is a multiple of x, and "5k" are thousands
_CHANGES_THE_VALUE = re.compile(
    any_of(
        r"""than, plus, minus, divided, multiplied, over, more, less, fewer, most, least, up, above, below
        under, between, through, until, except, short, off, unless, if, or, и, oder, ou, und, et, y, not, nor
        isn, wrong, incorrect, instead, rather, remainder
        ish, approx, approximately, roughly, about, around, maybe, perhaps, possibly, probably, almost, nearly
        hal(f|ve)s?, halved, quarter(s|ed)?, thirds?, fourths?, fifths?, sixths?, sevenths?, eighths?, ninths?
        tenths?, elevenths?, twelfths?, hundredths?, thousandths?, millionths?, billionths?
        dutzend\w*, millones, mill[óo]n, milliers?
        dozens?, scores?, gross, hundreds?, thousands?, grands?, lakhs?, lacs?, crores?
        \w*illi(on|ard|arde|arden|onen|ones|ón|oni)s?, hundert, tausend, mil, mille, mila, mio, mrd, mld, mln
        tn, bn, bln, mm?n
        squared, cubed, root, sqrt, power, exponent, factorial, point, fold, \w+fold
        doubled?, tripled?, quadrupled?, twice, thrice
        percent\w*, cent(?=um), pct, permille, basis, bps
        pi, e, sin, cos, tan, cot, sec, csc, log, ln, exp, theta, alpha, beta
        mod, modulo, base, binary, hex\w*, octal"""
    ),
    re.IGNORECASE,
)


def changes_the_value(word: str) -> bool:
    """Whether a word behind a number makes it another one, or an uncertain one: "squared", "about"."""
    return _CHANGES_THE_VALUE.fullmatch(word) is not None


def is_unit_word(word: str) -> bool:
    """Whether a word behind a number says only what was counted."""
    if len(word) == 1 and word < "\u2e80":  # a Chinese or Japanese counter is one letter
        return word in _UNIT_LETTERS or word == "à"
    if not word.isalpha() or (word.lower() in NUMBER_WORDS and word.lower() != "one"):
        return False
    return not changes_the_value(word)
