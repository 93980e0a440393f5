"""Finds the equations in a text and checks them in exact fractions. Parses with `ast`, evaluates no text."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain, pairwise

from star_engine.filters.prose_arithmetic import worded_equations

LONGEST = 120  # characters of one side: a longer one is no step that a person writes
_MAX_POWER = 20

_ANNOTATION = re.compile(r"<<([^<>=\n]*)=([^<>=\n]*)>>")
_NUMBER = r"[$€£]?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?%?|[$€£]?\.[0-9]+%?"
_OPERATOR = r"\*\*|[-+*/×÷−–^]|(?<=[0-9 )%])[xX](?=[ (]*[$€£]?[0-9.(])"
_TOKEN = re.compile(rf"{_NUMBER}|{_OPERATOR}|[()]")
_OPERATION = re.compile(r"[-+*/×÷−–^xX]")
_RANGE = re.compile(r"[0-9]+-[0-9]+")
_EQUALS = re.compile(r"(?<![<>!=:≠])=(?!=)")
_BULLET = re.compile(r"^[ \t]*(?:[-*•]|[0-9]+[.)])[ \t]+", re.MULTILINE)
# Beside one of these a side is only a part of what is meant: "twice 5 + 3 = 13", "= 3 remainder 1".
_PART_BEFORE = re.compile(
    r"(?:\b(?:times|of|and|plus|minus|twice|thrice|double|triple|half|by|over|than|less|more|root|from|[a-z])"
    r"|[-+*/×÷−–^=<>%\])}]|[0-9][.,:]?)[ \t]*[$€£]?$",
    re.IGNORECASE,
)
_PART_BEHIND = re.compile(
    r"[A-Za-z0-9_]|\.[0-9]|[ \t]*(?:[-+*/×÷−–^:!²³\\]|(?:times|of|and|plus|minus|percent|percentage|hundred"
    r"|thousand|million|billion|dozens?|cents?|remainder|rem|with|half|halves|thirds?|quarters?|[a-wyz])\b)",
    re.IGNORECASE,
)


def false_equation(text: str) -> str | None:
    """The first equation in the text that does not hold, as written; None where all that can be read hold."""
    for left, right, written in chain(equations(text), worded_equations(_ANNOTATION.sub("", text))):
        values = _values(left), _values(right)
        if values[0] and values[1] and not _holds(values[0], values[1], right):
            return written
    return None


def equations(text: str) -> Iterator[tuple[str, str, str]]:
    """(left, right, as written): calculator annotations first, then every `a op b = c` of the prose."""
    for mark in _ANNOTATION.finditer(text):
        yield mark[1], mark[2], mark[0]
    for line in _BULLET.sub("", _ANNOTATION.sub("", text)).split("\n"):
        sides = _EQUALS.split(line)
        for position, (before, behind) in enumerate(pairwise(sides)):
            left, right = _left_side(before), _right_side(behind)
            if not left or not right:
                continue
            chained = position > 0 and before.strip() == left  # the 8 of "5 + 3 = 8 = 4 + 4"
            if _is_calculation(left, right) or (chained and _OPERATION.search(right)):
                yield left, right, f"{left} = {right}"


def _is_calculation(left: str, right: str) -> bool:
    """Whether the match is a calculation, and not "room 2 = 3 * 4" or "weeks 1-2 = 96 - 70"."""
    is_range = _RANGE.fullmatch(left) and _OPERATION.search(right)
    return _OPERATION.search(left) is not None and not is_range


def _left_side(before: str) -> str | None:
    """The expression that ends here, if it begins with a number or parenthesis and nothing belongs to it."""
    begin = end = 0
    for token in _TOKEN.finditer(before):
        if not end or _apart(before, end, token.start()):
            begin = token.start()
        end = token.end()
    side = before[begin:end]
    if before[end:].strip(" \t") or not re.match(r"[$€£(]*[0-9.]", side) or len(side) > LONGEST:
        return None
    return None if _PART_BEFORE.search(before[max(0, begin - 20) : begin]) else side


def _right_side(behind: str) -> str | None:
    """The expression that begins here, if nothing behind it belongs to it."""
    begin = end = len(behind) - len(behind.lstrip(" \t"))
    for token in _TOKEN.finditer(behind):
        if _apart(behind, end, token.start()):
            break
        end = token.end()
    if end == begin or end - begin > LONGEST or _PART_BEHIND.match(behind, end):
        return None
    return behind[begin:end]


def _apart(text: str, end: int, start: int) -> bool:
    """Whether the tokens that end and start here belong to different expressions: "= 4 $5 bills", "a, b"."""
    between = text[end:start]
    return bool(between.strip(" \t")) or bool(between and text[end - 1].isdigit() and text[start] in "$€£")


def _values(side: str) -> tuple[Fraction, ...]:
    """What a side may mean: 20% is 0.2, or 20 to who counts in percent. Empty where it is unreadable."""
    plain = re.sub(r"[$€£,\s]", "", re.sub(r"(?<=[0-9])\s+(?=[0-9.])", "?", side)).rstrip(".")
    plain = plain.replace("×", "*").replace("÷", "/").replace("−", "-").replace("–", "-").replace("^", "**")
    plain = re.sub(r"[xX]", "*", re.sub(r"(?<=[0-9)%])\(", "*(", plain))
    if re.search(r"/[0-9.]+/", plain):
        return ()  # 28 / 1/5 is meant as 28 divided by a fifth
    readings = {plain.replace("%", ""), re.sub(r"([0-9.]+)%", r"(\1/100)", plain)}
    return tuple(value for reading in sorted(readings) if (value := _evaluate(reading)) is not None)


def _evaluate(expression: str) -> Fraction | None:
    try:
        return _value(ast.parse(expression, mode="eval").body)
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError):
        return None


def _value(node: ast.expr) -> Fraction:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return Fraction(repr(number))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand)
        case ast.BinOp(left=left, op=operator, right=right):
            return _apply(operator, _value(left), _value(right))
    raise ValueError("no arithmetic")


def _apply(operator: ast.operator, left: Fraction, right: Fraction) -> Fraction:
    match operator:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.Div():
            return left / right
        case ast.Pow() if right.denominator == 1 and abs(right) <= _MAX_POWER and abs(left) < 10**6:
            return Fraction(left ** int(right))
    raise ValueError("no arithmetic")


def _holds(left: tuple[Fraction, ...], right: tuple[Fraction, ...], written: str) -> bool:
    """Equal, or equal as far as the right side is written out: 10/3 = 3.33."""
    decimals = re.fullmatch(r"[$€£]?[0-9,]*\.([0-9]+)%?\.?", written.strip())
    slack = Fraction(1, 10 ** len(decimals[1])) if decimals else Fraction(0)
    return any(abs(a - b) <= slack for a in left for b in right)
