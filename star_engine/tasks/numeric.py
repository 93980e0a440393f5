"""Numbers: GSM8K (section 4.5 of the paper) and its like, with commas, units and decimals read as written."""

from __future__ import annotations

import re
from typing import Literal

from star_engine.tasks.reading.anchors import Anchor, Rule, find_anchors, retracted_after
from star_engine.tasks.reading.number import Flaw, Number, read_number
from star_engine.tasks.verdict import BadGold, Verdict, VerdictCode, no_answer

# The last number of a text; not the 45 of 5:45, nor a minus that belongs to 48-2.
_LONE_NUMBER = re.compile(r"(?<![\w.,:/^])(?:(?<![0-9)\]][ ])[-−])?\$?\.?[0-9][0-9,./:]*(?:[eE][-+]?[0-9]+)?")
Fallback = Literal["last_number"]


def gold_number(answer: str) -> Number:
    """The number that a gold answer is. Raises BadGold where it is none."""
    if "####" in answer or "\n" in answer.strip():
        raise BadGold(
            "looks like a whole solution; give only the number, which in GSM8K is what follows '####'"
        )
    found = read_number(answer, 0, len(answer))
    if isinstance(found, Flaw) or re.search(r"=|[.;]\s+\S", answer):
        raise BadGold(
            "is not one number; write it like 72, 1,080, -0.5, 3/4, 1 1/2 or 10%, or choose the kind "
            "exact, math or pattern"
        )
    return found


def verify_numeric(text: str, answer: str, fallback: Fallback | None = None) -> Verdict:
    """Every anchor must state the same number; without any, `fallback` may read the last number there is."""
    gold = gold_number(answer)
    stated = _stated(text)
    if not stated:
        return _last_number(text, gold) if fallback else no_answer(VerdictCode.UNPARSED, "no_anchor")
    flaws = [found for _, found in stated if isinstance(found, Flaw)]
    if Flaw.SEVERAL_VALUES in flaws:
        return no_answer(VerdictCode.AMBIGUOUS, Flaw.SEVERAL_VALUES)
    if flaws:
        return no_answer(VerdictCode.UNPARSED, flaws[0])
    numbers = [(anchor, found) for anchor, found in stated if isinstance(found, Number)]
    if not all(number.equals(numbers[0][1]) for _, number in numbers):
        return no_answer(VerdictCode.AMBIGUOUS, "anchors_disagree")
    if retracted_after(text, max(number.end for _, number in numbers)):
        return no_answer(VerdictCode.AMBIGUOUS, "retracted")
    decisive = next((pair for pair in numbers if pair[0].rule is Rule.HASHES), numbers[0])
    return _compared(text, decisive[1], gold, decisive[0].rule)


def verify_direct_numeric(text: str, answer: str, fallback: Fallback | None = None) -> Verdict:
    """For a completion that is only the answer: its first line, unless an anchor says where to look."""
    gold = gold_number(answer)
    begin = len(text) - len(text.lstrip())
    line = text[begin:].split("\n", 1)[0]
    found = read_number(text, begin, begin + len(line))
    if isinstance(found, Flaw):
        return verify_numeric(text, answer, fallback)
    if retracted_after(text, found.end):
        return no_answer(VerdictCode.AMBIGUOUS, "retracted")
    return _compared(text, found, gold, "direct")


def _stated(text: str) -> list[tuple[Anchor, Number | Flaw]]:
    """What each anchor says. "The answer is a sum" is prose; behind `####` it would be a flaw."""
    read = [(anchor, read_number(text, anchor.begin, anchor.end)) for anchor in find_anchors(text)]
    return [(a, found) for a, found in read if a.rule is not Rule.ANSWER_IS or found is not Flaw.NO_NUMBER]


def _last_number(text: str, gold: Number) -> Verdict:
    every = list(_LONE_NUMBER.finditer(text))
    if not every:
        return no_answer(VerdictCode.UNPARSED, "no_number")
    last = every[-1]
    end = last.end() + len(text[last.end() :]) - len(text[last.end() :].lstrip(" %"))
    found = read_number(text, last.start(), end)
    if isinstance(found, Flaw):
        return no_answer(VerdictCode.UNPARSED, found)
    return _compared(text, found, gold, "last_number")


def _compared(text: str, found: Number, gold: Number, rule: str) -> Verdict:
    code = VerdictCode.CORRECT if found.equals(gold) else VerdictCode.WRONG
    return Verdict(code, text[found.start : found.end], found.canonical, str(rule), (found.start, found.end))
