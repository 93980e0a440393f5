"""Scratchpads: the digits behind `</scratch>` (section 4.3 of the paper)."""

from __future__ import annotations

import re

from star_engine.tasks.verdict import BadGold, Verdict, VerdictCode, no_answer

CLOSING_TAG = "</scratch>"
_DIGITS = re.compile(r"-?[ \t]*[0-9](?:[ \t]*[0-9])*")


def gold_digits(answer: str) -> str:
    """A gold answer without its spaces. Raises BadGold where it is not made of digits."""
    if not _DIGITS.fullmatch(answer.strip()):
        raise BadGold("is not made of digits; write it like 8 8 3 or 883, or choose the kind exact")
    return _without_spaces(answer)


def verify_scratchpad(text: str, answer: str) -> Verdict:
    """What follows the closing tag must be one line of digits and nothing else."""
    gold = gold_digits(answer)
    tag = text.find(CLOSING_TAG)
    if tag < 0:
        return no_answer(VerdictCode.UNPARSED, "no_closing_tag")
    return _compare_line(text, tag + len(CLOSING_TAG), gold, "after_closing_tag")


def verify_direct_scratchpad(text: str, answer: str) -> Verdict:
    """For a completion that is only the answer. One with a scratchpad all the same is read behind it."""
    if CLOSING_TAG in text:
        return verify_scratchpad(text, answer)
    return _compare_line(text, 0, gold_digits(answer), "direct")


def _compare_line(text: str, begin: int, gold: str, rule: str) -> Verdict:
    begin += len(text[begin:]) - len(text[begin:].lstrip())
    found = _DIGITS.match(text, begin)
    rest = text[found.end() :].lstrip(" \t\r") if found else ""
    if not found or rest[:1].strip():
        return no_answer(VerdictCode.UNPARSED, "no_digits")
    if rest.strip():
        # A second answer, or a second scratchpad: training on the text would teach to run on.
        return no_answer(VerdictCode.AMBIGUOUS, "text_after_answer")
    canonical = _without_spaces(found[0])
    code = VerdictCode.CORRECT if canonical == gold else VerdictCode.WRONG
    return Verdict(code, found[0], canonical, rule, found.span())


def _without_spaces(digits: str) -> str:
    return "".join(digits.split())
