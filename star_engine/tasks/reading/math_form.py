"""The form of a mathematical expression, and what math-verify decides wrongly about two of them."""

from __future__ import annotations

import re

from star_engine.tasks.reading.numbers.number import read_number
from star_engine.tasks.reading.numbers.number_value import Number
from star_engine.tasks.reading.numbers.unit_words import changes_the_value

_COMMAND = re.compile(r"\\(?:text|mathrm|mathbf|operatorname)\s*\{[^{}]*\}|\\[A-Za-z]+")
_WRAPPED = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}")
_WORD = re.compile(r"[A-Za-z]{3,}")
_PROSE = re.compile(r"[A-Za-z]{3,}|[A-Za-z]{2,}(?: [A-Za-z]+)+")
_REPEATING = re.compile(r"(?<![\d.])(\d*)\.(\d*)\\overline\s*\{?(\d+)\}?")
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_SIZES = re.compile(r"\\(?:left|right|displaystyle)(?![a-zA-Z])\s*|\\[!,](?=\d{3})")
_INFINITY = re.compile(r"^\+\s*\\infty$|^\+?(?:infinity|∞)$|(?<=-)∞$", re.IGNORECASE)
_COEFFICIENT = re.compile(r"\d\s*[A-Za-z](?![A-Za-z0-9])")  # 5a is no number of ares
_MODULUS = re.compile(r"\s*(?:\\pmod|\(\\?(?:bmod|mod))\s*(?:\{[^{}]*\}|\d+)\s*\)?$")
_NAMED = re.compile(r"([A-Za-z](?:_\w|_\{\w+\})?)\s*(?:=|\\equiv)\s*(?=[^=\s])")
_OR = re.compile(
    r"(?:\\q?quad|\\[,; ]|\s)*\\text\s*\{\s*(?:or|and)\s*\}(?:\\q?quad|\\[,; ]|\s)*|\s+(?:or|and)\s+"
)
_PERCENT_WORD = re.compile(r"\s*\\(?:text|mathrm)\s*\{\s*per\s?cent\s*\}")


def as_gold(gold: str, answer: str) -> str:
    """The answer without what says no more than the gold answer: "x = 1 or x = 2" for 1, 2, and "(mod 7)".

    Names go only if all of its values have the same, and the gold answer has none.
    """
    if "mod" not in gold:
        answer = _MODULUS.sub("", answer)
    if _OR.search(gold):
        return answer
    values = _OR.sub(",", answer)
    names = {name[1] for name in _NAMED.finditer(values)}
    named = len(names) == 1 and all(_NAMED.match(one.strip()) for one in values.split(","))
    if "=" in gold or "\\equiv" in gold or not named:
        return values if not names else answer
    return ", ".join(_NAMED.sub("", one.strip(), count=1) for one in values.split(","))


def equal_without_library(gold: str, answer: str) -> bool | None:
    """Decides what math-verify gets wrong: 1e3, 1 1/2, 10 % and 10, 5 million, words as products."""
    compact = "".join(gold.split()), "".join(answer.split())
    if compact[0] == compact[1] or (_PROSE.fullmatch(gold) and gold.casefold() == answer.casefold()):
        return True
    numbers = whole_number(gold), whole_number(answer)
    if numbers[0] and numbers[1]:
        return numbers[0].equals(numbers[1])
    if _has_percent(gold) != _has_percent(answer) or _words(gold) != _words(answer):
        return False
    if _scales(gold) != _scales(answer) or _marks(compact[0]) != _marks(compact[1]):
        return False
    if {_opening(compact[0]), _opening(compact[1])} == {"{", "("}:
        return False  # a set and a tuple
    return _equal_lists(compact[0], compact[1])


def _equal_lists(gold: str, answer: str) -> bool | None:
    """Whether two lists are the same, where one holds a value twice or is longer; None for the library.

    The library takes "2, 2, 3" and "2, 3, 3" for one set.
    """
    lists = [sorted(_listed(one)) for one in (gold, answer)]
    if max(map(len, lists)) < 2:
        return None
    if len(lists[0]) != len(lists[1]):
        return False
    repeats = any(len(set(one)) < len(one) for one in lists)
    return lists[0] == lists[1] if repeats else None


def _listed(compact: str) -> list[str]:
    """The parts of "2,3" and of "{2,3}"; one part for whatever else has commas in it."""
    inner = compact.removeprefix("\\{").removesuffix("\\}")
    return [compact] if re.search(r"[()\[\]|]|\d,\d{3}(?!\d)", inner) else inner.split(",")


def whole_number(text: str) -> Number | None:
    if "'" in text or "!" in text or _COEFFICIENT.search(_WRAPPED.sub(" ", text)):
        return None
    unwrapped = _WRAPPED.sub(lambda wrapped: wrapped[1], text)
    found = read_number(unwrapped, 0, len(unwrapped))
    return found if isinstance(found, Number) and not re.search(r"[=,;]\s|=|\b(?:or|and)\b", text) else None


def _has_percent(text: str) -> bool:
    return "%" in text or re.search(r"\bpercent\b", text) is not None


def _words(text: str) -> list[str]:
    """Words outside LaTeX commands: to the library "pairs" is p*a*i*r*s, and so equal to "Paris"."""
    return sorted(_WORD.findall(_COMMAND.sub(" ", text).lower()))


def _scales(text: str) -> list[str]:
    """Words in \\text{} that change a value; the library drops all of them as units."""
    words = [word for wrapped in _WRAPPED.findall(text) for word in _WORD.findall(wrapped.lower())]
    return sorted(word.rstrip("s") for word in words if changes_the_value(word))


def _opening(compact: str) -> str:
    return compact.lstrip("\\")[:1].replace("[", "(")


def _marks(compact: str) -> tuple[object, ...]:
    """What the library reads too widely: a digit's base, a prime, A and a."""
    letters = sorted(
        letter for letter in _COMMAND.sub(" ", compact) if letter.isalpha() and letter not in "eidx"
    )
    return (
        re.findall(r"\d_\{?\d+", compact),
        compact.count("'") + compact.count("\\prime"),
        sorted(letter for letter in letters if letter.isupper()),
    )


def bare_expression(text: str) -> str:
    """Without math delimiters, sizes of brackets and a \\text{} around all of it; per cent as a sign."""
    bare = text.strip().strip("$").strip().removeprefix("\\(").removesuffix("\\)").strip()
    bare = bare.removeprefix("\\[").removesuffix("\\]").strip()
    bare = _SIZES.sub("", _BOX.sub("{", bare))
    bare = _PERCENT_WORD.sub("\\\\%", bare)
    bare = _REPEATING.sub(_as_fraction, bare)
    wrapped = _WRAPPED.fullmatch(bare)
    return _INFINITY.sub(r"\\infty", wrapped[1].strip() if wrapped else bare)


def _as_fraction(repeating: re.Match[str]) -> str:
    """0.1\\overline{6} is 15/90; the library reads the line as a product."""
    whole, fixed, period = repeating[1] or "0", repeating[2], repeating[3]
    below = int("9" * len(period) + "0" * len(fixed))
    return f"\\frac{{{int(whole + fixed + period) - int(whole + fixed)}}}{{{below}}}"
