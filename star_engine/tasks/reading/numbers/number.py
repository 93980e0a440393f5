"""Reads one number out of a stated answer, exactly: no floats, and nothing that is only nearly a number."""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

from star_engine.tasks.reading.numbers.number_value import MAX_DIGITS, Flaw, Number
from star_engine.tasks.reading.numbers.number_words import read_number_words
from star_engine.tasks.reading.numbers.restated import without_restatement
from star_engine.tasks.reading.numbers.unit_words import is_unit_word

MAX_EXPONENT = 300
MAX_CHARACTERS = 2000  # of a clause; a longer one is run-on text

# Groups of three behind commas, {,}, thin and fixed spaces or Swiss apostrophes; Indian groups of two.
_THIN = "\u00a0\u2009\u202f"
_INTEGER = (
    rf"(?:\d{{1,3}}(?:(?:,|\{{,\}}|\\,|[{_THIN}'’])\d{{3}})+(?!\d)"
    r"|(?<![\d.,][ ])\d{1,3}(?:[ ]\d{3})+(?![ ]?\d|,\d)|\d{1,2}(?:,\d{2})+,\d{3}(?!\d)|\d+)"
)
# 1.080,50, 1 080,50 and 1.234.567 can be read in one way only; 1.080 cannot: it is what English makes of it.
_EUROPEAN = (
    rf"\d{{1,3}}(?:[ {_THIN}]\d{{3}})+,\d{{1,2}}(?![\d,.]\d)"
    r"|\d{1,3}(?:\.\d{3})+,\d{1,2}(?![\d,.]\d)|\d{1,3}(?:\.\d{3}){2,}(?!\d)"
)
_VULGAR = "¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_CURRENCY = r"\\?(?:US|A|C|NZ|HK|S|R)?[$€£¥₹]|(?:USD|EUR|GBP|INR|CNY|RMB|CAD|AUD)(?=[ ]?\d)|Rs\.?(?=[ ]?\d)"
_NUMBER = re.compile(
    rf"""(?:(?P<worded>minus|negative)[ ])?(?P<sign>[-+−–]?)(?:(?:{_CURRENCY})[ ]?(?P<late_sign>[-−]?))?
    (?:(?:(?P<whole>{_INTEGER})[ ]+)?(?P<above>{_INTEGER})[ ]?[/⁄][ ]?(?P<below>{_INTEGER})
    |(?P<tex_whole>{_INTEGER})?[ ]?\\[dt]?frac
     (?:\{{(?P<tex_above>-?\d+)\}}\{{(?P<tex_below>\d+)\}}|(?P<short>\d\d)(?!\d))
    |(?P<vulgar_whole>\d*)[ ]?(?P<vulgar>[{_VULGAR}])
    |(?P<european>{_EUROPEAN})
    |(?P<decimal>(?:{_INTEGER})?\.\d+|{_INTEGER})
     (?:[eE](?P<exponent>[-+]?\d{{1,4}})|[ ]?(?:×|x|\\times|\*|·|\\cdot)[ ]?10
      (?:[ ]?(?:\^|\*\*)[ ]?\{{?(?P<power>[-−]?\d{{1,4}})\}}?|(?P<raised>[⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)))?)""",
    re.VERBOSE | re.IGNORECASE,
)
_PERCENT = re.compile(r"\s*(?:\\?%|(?:per\s?cent(?:age)?|pct)\b)", re.IGNORECASE)
# Words that multiply in one way wherever English is written. The others make the number unreadable.
_SCALES = {
    "hundred": 100, "thousand": 1_000, "million": 10**6, "billion": 10**9, "trillion": 10**12,
    "lakh": 10**5, "crore": 10**7, "dozen": 12,
}  # fmt: skip
_SCALE = re.compile(rf"[ -]?({'|'.join(_SCALES)})s?\b(?!-)", re.IGNORECASE)
_PARTS = {
    "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10,
    "twelfth": 12, "hundredth": 100, "thousandth": 1_000,
}  # fmt: skip
_PART = re.compile(rf"[ -]({'|'.join(_PARTS)})s?\b(?!\s+(?:of\s+\d|power))", re.IGNORECASE)
_AND_PART = re.compile(
    r" and (?:(?:a |one[ -])(?P<one>half|third|quarter)|(?P<two>two)[ -]thirds"
    r"|(?P<three>three)[ -]quarters)\b",
    re.IGNORECASE,
)
_PREFIX = re.compile(
    r"""(?:[\s*_`"'“‘]|\\[(\[]|\\\$(?=\\)|\$(?=[$\\*\s])|\\boxed\s*\{|\\(?:text|mathbf|mathrm)\{|[\u2713-\u27bf\U0001f300-\U0001faff→⇒∴]\ufe0f?\s?
    |\b(?:therefore|thus|hence|then|simply|just|only|exactly|precisely|clearly|indeed|now|equals?|equal\s+to|given\s+by|a\s+total\s+of|the\s+number)\b,?)*""",
    re.VERBOSE | re.IGNORECASE,
)
_ANNOTATION = re.compile(r"<<[^<>\n]*>>")  # GSM8K's calculator marks: <<48/2=24>>24
_CLAUSE_END = re.compile(
    r"[.;](?=\s|$)|\.(?![\d.\\])|####|\n|,?\s(?:because|since|as\b(?!\s+(?:much|many|well|long)\b))\b|,\s(?:which|so|where|who|but|giving|leaving|given|assuming"
    r"|meaning|making|after|if|then|although|though|however|while)\b|:\s|\s[—–]\s|[!?](?=\s|$)|[。！？]|\s\|",
    re.IGNORECASE,
)
_NAME = re.compile(r"\s*[A-Za-z]+\s*")
_CONDITION = re.compile(r"\b(?:where|when|if|for|with|and|or)\b", re.IGNORECASE)
_REMARK = re.compile(r"\(([^()]*)\)")
_NO_REMARK = re.compile(
    r"\b(?:or|approx\w*|about|rounded|roughly|nearly|almost|maybe|if|unless|mod|base|wrong|not\s+(?:sure|exactly))\b|[~≈±?]",
    re.IGNORECASE,
)
_DENIED_OTHER = re.compile(
    r"(?:,\s*|\s+)(?:and\s+)?(?:not|rather\s+than|instead\s+of)\s+[$€£]?\d[^.;\n]*$", re.IGNORECASE
)
_DOLLARS_AND_CENTS = re.compile(
    r"\s+(?:dollars?|euros?)\s+and\s+(?P<cents>\d{1,2})\s+cents?\b", re.IGNORECASE
)
_TIME_REMARK = re.compile(
    r"\s(?:in|after|on|during|within|over|for|by|at|every|each|per|a)\s+(?:[\w-]+\s+){0,3}?(?:second|minute|hour|day|week|month|year"
    r"|night|morning|evening|weekend|trip|semester|season)s?\b(?:\s+\d+\b)?",
    re.IGNORECASE,
)
_RESTATED = re.compile(r"[^\n]*?,\s*(?:that\s+is|i\.e\.|in\s+other\s+words),?\s+", re.IGNORECASE)
_LATEX = re.compile(
    r"\\(?:text|mathrm|mathbf|textbf)\s*\{|\\[ ,;:!)\]$]|\\quad"
    r"|\^\s*\{?\s*\\circ\s*\}?|\\(?:degree|circ|checkmark)\b"
)
_UNIT_POWER = re.compile(r"(?<=[^\W\d_])(?P<close>\}?)(?:\^?\{?[23]\}?|[²³])(?!\d)")
_WORD = re.compile(r"[^\W\d_]+")
_HARMLESS = re.compile(r"""[\s*_`"'’”).(,:;!°$€£¥₹{}\[\]。，、✓✔✅]|[-/](?=\w)""")


def read_number(text: str, start: int, end: int) -> Number | Flaw:
    """The one number that text[start:end] states, up to the end of its first clause.

    Before it may stand decoration (`**`, `$`, `\\boxed{`, "therefore"); behind it `%`, a scale ("billion"),
    unit words and a remark like "(see step 2)". Anything else in the clause is a flaw.
    """
    region = _ANNOTATION.sub(lambda mark: " " * len(mark[0]), text[start : min(end, start + MAX_CHARACTERS)])
    skipped = _equation_length(region)
    restated = _RESTATED.match(region)
    if restated and _NUMBER.match(region, restated.end()):
        skipped = max(skipped, restated.end())
    prefix = _PREFIX.match(region, skipped)
    skipped = prefix.end() if prefix else skipped
    found = _NUMBER.match(region, skipped)
    stop = _CLAUSE_END.search(region, found.end() if found else skipped)
    clause = region[: stop.start() if stop else len(region)]
    if not found:
        return _read_words(clause, skipped, start)
    value = _value(found)
    if re.match(r"\s\.\s?\d", region[found.end() : found.end() + 4]):
        return Flaw.NOT_ONE_NUMBER  # "5 . 2"
    if value is None or (stop and stop[0] in "!?" and stop.start() == found.end() and not found["european"]):
        return Flaw.NOT_ONE_NUMBER  # "5!" is 120 or enthusiasm
    value, number_end = _scaled(value, clause, found.end())
    percent = _PERCENT.match(clause, number_end)
    number_end = percent.end() if percent else number_end
    if (
        percent
        and re.match(r"\s+of\s+[\w$]*\d|\s+(?:of|more|less)\b", clause[number_end:])
        and re.search(r"\d", clause[number_end:])
    ):
        return Flaw.NOT_ONE_NUMBER
    flaw = _flaw_behind(clause[number_end:], value)
    if flaw or (stop and stop[0] == "?"):
        return flaw or Flaw.NOT_ONE_NUMBER
    return Number(value, percent is not None, start + found.start(), start + number_end)


def _scaled(value: Fraction, clause: str, position: int) -> tuple[Fraction, int]:
    """With "billion", "dozen", "fifths" and "and a half" read into it."""
    scaled = False
    if (change := _DOLLARS_AND_CENTS.match(clause, position)) and value.denominator == 1:
        return value + Fraction(int(change["cents"]), 100), change.end()
    while scale := _SCALE.match(clause, position):
        value, position, scaled = value * _SCALES[scale[1].lower()], scale.end(), True
    if not scaled and value.denominator == 1:
        if part := _PART.match(clause, position):
            return value / _PARTS[part[1].lower()], part.end()
        if more := _AND_PART.match(clause, position):
            names = {"half": Fraction(1, 2), "third": Fraction(1, 3), "quarter": Fraction(1, 4)}
            added = (
                names[more["one"].lower()]
                if more["one"]
                else Fraction(2, 3)
                if more["two"]
                else Fraction(3, 4)
            )
            return value + added, more.end()
    return value, position


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
    exponent = int(
        (found["exponent"] or found["power"] or (found["raised"] or "0").translate(_SUPERSCRIPTS)).replace(
            "−", "-"
        )
    )
    if len(found[0]) > MAX_DIGITS or abs(exponent) > MAX_EXPONENT:
        return None
    above, below = found["above"] or found["tex_above"], found["below"] or found["tex_below"]
    if found["short"]:
        above, below = found["short"][0], found["short"][1]
    if found["vulgar"]:
        magnitude = Fraction(unicodedata.numeric(found["vulgar"])).limit_denominator(10)
        magnitude += int(found["vulgar_whole"] or 0)
    elif found["european"]:
        magnitude = Fraction(re.sub(r"[^\d,]", "", found["european"]).replace(",", "."))
    elif above is None:
        magnitude = Fraction(_digits(found["decimal"])) * Fraction(10) ** exponent
    elif int(_digits(below)) == 0:
        return None
    else:
        magnitude = Fraction(int(_digits(above)), int(_digits(below)))
        whole = found["whole"] or found["tex_whole"]
        if whole is not None and not 0 <= magnitude < 1:
            return None
        magnitude += int(_digits(whole or "0"))
    negative = (found["sign"] in ("-", "−", "–")) != (found["late_sign"] in ("-", "−"))
    return -magnitude if negative != (found["worded"] is not None) else magnitude


def _digits(integer: str) -> str:
    return re.sub(r"[^\d.]", "", integer)


def _flaw_behind(tail: str, value: Fraction) -> Flaw | None:
    """What is wrong with the rest of the clause: only unit words and remarks may follow a number."""
    # Not a part of a number, nor of a power: 5:30, 3/4/5, 42.5.1, 42^2.
    if re.match(
        r"[:,./^×][\d{(]|\.\.|…|\s*(?:\^(?!\s*\{?\s*\\circ)|\*\*)|\s*[xX×*]\s*\d|[-–—]\s?\$?\d", tail
    ):
        return Flaw.SEVERAL_VALUES if re.match(r"[-–—]", tail) else Flaw.NOT_ONE_NUMBER
    tail = without_restatement(tail, value)
    for remark in _REMARK.finditer(tail):
        if _NO_REMARK.search(remark[1]) or _is_other_number(remark[1], value):
            return Flaw.SEVERAL_VALUES
    tail = _DENIED_OTHER.sub("", _REMARK.sub(" ", tail))
    if re.match(r"\s+and\b", tail):
        return Flaw.NOT_ONE_NUMBER
    tail = re.sub(r"^\s+more\b(?!\s+than)", " ", tail)  # "$5 more to buy it"
    tail = re.sub(r"\bleft[\s-]over\b", "left", tail)
    tail = _LATEX.sub(" ", tail)
    tail = _TIME_REMARK.sub(" ", tail)
    if value.denominator != 1 or abs(value) < 1:
        tail = re.sub(r"^\s*of\s+(?:an?|the|one)\s+(?=[^\W\d])", " ", tail)  # 3/4 of a mile
    tail = _UNIT_POWER.sub(lambda power: power["close"], tail)
    words = _WORD.findall(tail)
    if re.search(r"\d", tail) or "or" in [word.lower() for word in words]:
        return Flaw.SEVERAL_VALUES
    if tail.startswith(("!", "?")) or not all(map(is_unit_word, words)) or words[:-1].count("times"):
        return Flaw.NOT_ONE_NUMBER
    if re.match(r"(?:st|nd|rd|th)\b", tail) or re.match(
        r"\s+of\s+(?:the|those|them|these|his|her|their|all)\b", tail
    ):
        return Flaw.NOT_ONE_NUMBER
    rest = _WORD.sub("", _HARMLESS.sub(" ", tail)).strip()
    return (
        Flaw.NOT_ONE_NUMBER
        if any(unicodedata.category(mark) not in ("So", "Mn", "Cf") for mark in rest)
        else None
    )


def _is_other_number(remark: str, value: Fraction) -> bool:
    """Whether a remark is nothing but a number, and another one: "42 (43)", but not "42 (forty-two)"."""
    found = _NUMBER.fullmatch(remark.strip())
    if found:
        return _value(found) != value
    words = read_number_words(remark)
    return words is not None and words != value


_UNITS_BEHIND = re.compile(
    r"(?:[ ](?!of\b|or\b|and\b|more\b|less\b|fewer\b|times\b|than\b|to\b|in\b)[a-z]+){1,2}$", re.IGNORECASE
)


def _read_words(clause: str, begin: int, offset: int) -> Number | Flaw:
    """Words are a number where they are all that is stated but a unit: "one of them" is no 1."""
    words = clause[begin:].rstrip(" .,;:!*_`\"'”’)。")
    remark = re.search(r"\s*\(([^()]*)\)?$", words)
    if (
        remark
        and (digits := _NUMBER.fullmatch(remark[1]))
        and _spoken(words[: remark.start()]) == _value(digits)
    ):
        words = words[: remark.start()]
    sign = re.match(r"(?:minus|negative)\s+", words, re.IGNORECASE)
    spoken = words[sign.end() :] if sign else words
    value = _spoken(spoken)
    unit = _UNITS_BEHIND.search(spoken)
    if value is None and unit and all(map(is_unit_word, unit[0].split())):
        value = _spoken(spoken[: unit.start()])
        value = None if value == 1 else value
        words = words[: len(words) - len(unit[0])]
    if value is None:
        return Flaw.NO_NUMBER
    return Number(-value if sign else value, False, offset + begin, offset + begin + len(words))


def _spoken(words: str) -> Fraction | None:
    """ "forty-two", "two thirds", "one and a half", "half"."""
    lower = " ".join(words.lower().split())
    if lower in ("half", "a half", "one half", "one-half"):
        return Fraction(1, 2)
    if lower in ("a quarter", "one quarter", "one-quarter", "a third", "one third", "one-third"):
        return Fraction(1, 4 if "quarter" in lower else 3)
    whole = read_number_words(lower)
    if whole is not None:
        return Fraction(whole)
    if more := _AND_PART.search(lower):
        whole = read_number_words(lower[: more.start()]) if more.end() == len(lower) else None
        return None if whole is None else _scaled(Fraction(whole), lower, more.start())[0]
    part = re.fullmatch(r"(.+)[ -](\w+?)s", lower)
    above = read_number_words(part[1]) if part and part[2] in _PARTS else None
    return None if above is None or part is None else Fraction(above, _PARTS[part[2]])
