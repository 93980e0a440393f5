"""Crude ways to tell whether a text ends with an answer, sharing no code with the grading of any kind."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from fractions import Fraction

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:[eE]-?\d+)?(?:\s*/\s*\d+)?")


def last_number(text: str, answer: str) -> bool:
    said, gold = _NUMBER.findall(text), _NUMBER.findall(answer)
    return bool(said and gold) and _value(said[-1]) == _value(gold[-1])


def last_line_digits(text: str, answer: str) -> bool:
    lines = [line for line in text.splitlines() if line.strip()]
    return "</scratch>" in text and re.sub(r"\s", "", lines[-1]) == re.sub(r"\s", "", answer)


def last_choice(text: str, answer: str, choices: Sequence[str]) -> bool:
    labels = re.findall(r"\(([A-Za-z])\)", text)
    if labels:
        said = ord(labels[-1].lower()) - ord("a")
    else:
        places = [text.casefold().rfind(choice.casefold()) for choice in choices]
        said = places.index(max(places)) if places and max(places) >= 0 else -1
    right = ord(answer.strip().strip("()").lower()) - ord("a")
    return 0 <= said < len(choices) and choices[said] == choices[right]


def ends_with(text: str, answer: str) -> bool:
    said, gold = (
        re.sub(r"[\s.!$]+$", "", " ".join(unicodedata.normalize("NFKC", t).casefold().split()))
        for t in (text, answer)
    )
    return said.endswith(gold)


def last_box(text: str, answer: str) -> bool | None:
    """The same characters, or the same number. Else no opinion: there are many ways to write one term."""
    _, _, behind = text.rpartition("\\boxed{") if "\\boxed{" in text else text.rpartition("####")
    said = behind.strip().rstrip(".$ ").removesuffix("}").replace(" ", "")
    gold = answer.replace(" ", "").strip("$")
    if said == gold:
        return True
    numbers = [_value(one) if _NUMBER.fullmatch(one) else None for one in (said, gold)]
    return numbers[0] == numbers[1] if None not in numbers else None


def _value(written: str) -> Fraction | None:
    over, _, under = written.replace(",", "").replace(" ", "").partition("/")
    try:
        return Fraction(over) / Fraction(under or "1")
    except (ValueError, ZeroDivisionError):
        return None
