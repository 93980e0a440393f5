"""Reads one number out of a stated answer, exactly: no floats, and nothing that is only nearly a number."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from star_engine.tasks.reading.number_words import NUMBER_WORDS, read_number_words


class Flaw(StrEnum):
    """Why a stated answer is not one number."""

    NO_NUMBER = "no_number"  # does not begin with a number
    NOT_ONE_NUMBER = "not_one_number"  # begins with one, but means something else: 5:30, 5!, 5 million
    SEVERAL_VALUES = "several_values"  # "72 or 73"


@dataclass(frozen=True, slots=True)
class Number:
    """`start` and `end` are offsets into the text that was read. 10 and 10 % are different numbers."""

    value: Fraction
    percent: bool
    start: int
    end: int

    @property
    def canonical(self) -> str:
        """72, -0.5 (where it terminates), 1/3, 10%."""
        return _exact_text(self.value) + ("%" if self.percent else "")

    def equals(self, other: Number) -> bool:
        return self.value == other.value and self.percent == other.percent


# Longer ones are no answers, and 1e999999999 would fill the memory.
MAX_DIGITS = 300
MAX_EXPONENT = 300

_INTEGER = r"(?:[0-9]{1,3}(?:(?:,|\{,\}|\\,)[0-9]{3})+(?![0-9])|[0-9]+)"
_NUMBER = re.compile(
    rf"""(?P<sign>[-+−–]?)(?:\\?[$€£¥₹][ ]?(?P<late_sign>[-−]?))?
    (?:(?:(?P<whole>{_INTEGER})[ ]+)?(?P<above>{_INTEGER})[ ]?/[ ]?(?P<below>{_INTEGER})
    |(?P<tex_whole>{_INTEGER})?[ ]?\\[dt]?frac\{{(?P<tex_above>-?[0-9]+)\}}\{{(?P<tex_below>[0-9]+)\}}
    |(?P<decimal>(?:{_INTEGER})?\.[0-9]+|{_INTEGER})(?:[eE](?P<exponent>[-+]?[0-9]{{1,4}}))?)""",
    re.VERBOSE,
)
_PERCENT = re.compile(r"\s*(?:\\?%|(?:per\s?cent(?:age)?|pct)\b)", re.IGNORECASE)
_PREFIX = re.compile(
    r"""(?:[\s*_`"'“]|\\[(\[]|\\\$(?=\\)|\$(?=[$\\*\s])|\\boxed\s*\{|\\(?:text|mathbf|mathrm)\{
    |\b(?:therefore|thus|hence|then|simply|just|exactly|equal\s+to)\b,?)*""",
    re.VERBOSE | re.IGNORECASE,
)
_ANNOTATION = re.compile(r"<<[^<>\n]*>>")  # GSM8K's calculator marks: <<48/2=24>>24
_CLAUSE_END = re.compile(
    r"[.;](?=\s|$)|\.(?![0-9])|####|\n|,?\s(?:because|since|as)\b|[!?](?=\s|$)", re.IGNORECASE
)
_NAME = re.compile(r"\s*[A-Za-z]+\s*")
_CONDITION = re.compile(r"\b(?:where|when|if|for|with|and|or)\b", re.IGNORECASE)
_REMARK = re.compile(r"\((?:see|from|by|cf\.?|as in|using)\b[^()]*\)", re.IGNORECASE)
_LATEX = re.compile(r"\\(?:text|mathrm|mathbf|textbf)\s*\{|\\[ ,;:!)\]$]|\\quad")
_UNIT_POWER = re.compile(r"(?<=[A-Za-z])(?P<close>\}?)(?:\^?\{?[23]\}?|[²³])(?![0-9])")
_WORD = re.compile(r"[^\W\d_]+")
_HARMLESS = re.compile(r"""[\s*_`"'’”).(,:;!°$€£{}\[\]]|[-/](?=\w)""")
_UNIT_LETTERS = frozenset("mgshlLWVAJNCFs")
_CHANGES_THE_VALUE = re.compile(
    r"than|minus|plus|divided|multiplied|hal(?:f|ves)|(?:third|quarter|fourth|dozen|hundred|thousand|million)s?"
    r"|[bt]rillion|squared|cubed|factorial|point|percent(?:age)?|pct|bn|mn|pi|not|nor|isn|wrong|incorrect"
    r"|instead|rather",
    re.IGNORECASE,
)


def read_number(text: str, start: int, end: int) -> Number | Flaw:
    """The one number that text[start:end] states, up to the end of its first clause.

    Before it may stand decoration (`**`, `$`, `\\boxed{`, "therefore"); behind it `%`, unit words and a
    remark like "(see step 2)". Anything else in the clause is a flaw: a verifier must not guess.
    """
    region = _ANNOTATION.sub(lambda mark: " " * len(mark[0]), text[start:end])
    skipped = _equation_length(region)
    prefix = _PREFIX.match(region, skipped)
    skipped = prefix.end() if prefix else skipped
    stop = _CLAUSE_END.search(region, skipped)
    clause = region[: stop.start() if stop else len(region)]
    found = _NUMBER.match(clause, skipped)
    if not found:
        return _read_words(clause, skipped, start)
    value = _value(found)
    if value is None or (stop and stop[0] in "!?" and stop.start() == found.end()):
        return Flaw.NOT_ONE_NUMBER  # "5!" is 120 or enthusiasm
    percent = _PERCENT.match(clause, found.end())
    number_end = percent.end() if percent else found.end()
    flaw = _flaw_behind(clause[number_end:])
    if flaw or (stop and stop[0] == "?"):
        return flaw or Flaw.NOT_ONE_NUMBER
    return Number(value, percent is not None, start + found.start(), start + number_end)


def _equation_length(region: str) -> int:
    """How much to skip so that "48 + 24 = 72" and "x = 72" state 72; 0 for any other left side."""
    clause = _CLAUSE_END.search(region)
    left, sign, right = region[: clause.start() if clause else len(region)].rpartition("=")
    if not sign or left.endswith(("<", ">", "!", "≠", "=")) or re.search(r"[,;:()?]", left):
        return 0
    is_expression = re.search(r"[-+*/×÷−]", left) and re.search(r"[0-9]", left) and right.strip()
    if _NAME.fullmatch(left) or (is_expression and not _CONDITION.search(left)):
        return len(left) + 1
    return 0


def _value(found: re.Match[str]) -> Fraction | None:
    """None where the digits make no number that can be an answer: 1/0, 1 5/2, 1e999."""
    if len(found[0]) > MAX_DIGITS or abs(int(found["exponent"] or "0")) > MAX_EXPONENT:
        return None
    above, below = found["above"] or found["tex_above"], found["below"] or found["tex_below"]
    if above is None:
        magnitude = Fraction(_digits(found["decimal"]) + "e" + (found["exponent"] or "0"))
    elif int(_digits(below)) == 0:
        return None
    else:
        magnitude = Fraction(int(_digits(above)), int(_digits(below)))
        whole = found["whole"] or found["tex_whole"]
        if whole is not None and not 0 <= magnitude < 1:
            return None
        magnitude += int(_digits(whole or "0"))
    negative = (found["sign"] in ("-", "−", "–")) != (found["late_sign"] in ("-", "−"))
    return -magnitude if negative else magnitude


def _digits(integer: str) -> str:
    return integer.replace("{,}", "").replace("\\,", "").replace(",", "")


def _flaw_behind(tail: str) -> Flaw | None:
    """What is wrong with the rest of the clause: only unit words may follow a number."""
    tail = _LATEX.sub(" ", _REMARK.sub(" ", tail))
    tail = _UNIT_POWER.sub(lambda power: power["close"], tail)
    if re.match(r"[:,./^][0-9]", tail):
        return Flaw.NOT_ONE_NUMBER
    words = _WORD.findall(tail)
    if re.search(r"[0-9]", tail) or "or" in [word.lower() for word in words]:
        return Flaw.SEVERAL_VALUES
    if tail.startswith(("!", "?")) or not all(map(_is_unit_word, words)) or words[:-1].count("times"):
        return Flaw.NOT_ONE_NUMBER
    return Flaw.NOT_ONE_NUMBER if _WORD.sub("", _HARMLESS.sub(" ", tail)).strip() else None


def _is_unit_word(word: str) -> bool:
    if len(word) == 1:
        return word in _UNIT_LETTERS  # "72x" is a multiple of x, "5k" are thousands
    if not word.isalpha() or word.lower() in NUMBER_WORDS:
        return False
    return not _CHANGES_THE_VALUE.fullmatch(word)


def _read_words(clause: str, begin: int, offset: int) -> Number | Flaw:
    """Words are a number only where they are all that is stated: "the answer is one of them" is no 1."""
    words = clause[begin:].rstrip(" .,;:!*_`\"'”")
    value = read_number_words(words)
    if value is None:
        return Flaw.NO_NUMBER
    return Number(Fraction(value), False, offset + begin, offset + begin + len(words))


def _exact_text(value: Fraction) -> str:
    places = 0
    while places <= MAX_DIGITS and (value * 10**places).denominator != 1:
        places += 1
    if places == 0 or places > MAX_DIGITS:
        return str(value)
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"
