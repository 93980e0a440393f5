"""Scratchpads: the digits behind `</scratch>` (section 4.3 of the paper)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from star_engine.section import Section
from star_engine.tasks.examples import Asked, Example
from star_engine.tasks.grading import check_against_itself, grade
from star_engine.tasks.hints import ANY_KIND, HintForm
from star_engine.tasks.layout import Layout
from star_engine.tasks.reading.second_opinion import last_line_digits
from star_engine.tasks.reading.words import tokens
from star_engine.tasks.task import TaskOptions
from star_engine.tasks.verdict import BadGold, Verdict, VerdictCode, no_answer

OPENING_TAG, CLOSING_TAG = "<scratch>", "</scratch>"
_LEAD = re.compile(r"(?:(?:so|thus|therefore),? )?(?:the )?(?:final )?answer(?: is|:) *", re.IGNORECASE)
_DIGITS = re.compile(r"-?[ \t]*[0-9](?:[ \t]*[0-9])*")


def gold_digits(answer: str) -> str:
    """A gold answer without its spaces. Raises BadGold where it is not made of digits."""
    if not _DIGITS.fullmatch(answer.strip()):
        raise BadGold("is not made of digits; write it like 8 8 3 or 883, or choose the kind exact")
    return _without_spaces(answer)


def verify_scratchpad(text: str, answer: str) -> Verdict:
    """What follows the closing tag must be one line of digits, which may say that it is the answer."""
    gold = gold_digits(answer)
    tag = text.find(CLOSING_TAG)
    if tag < 0:
        return no_answer(VerdictCode.UNPARSED, "no_closing_tag")
    return _compare_line(text, tag + len(CLOSING_TAG), gold, "after_closing_tag")


def verify_direct_scratchpad(text: str, answer: str) -> Verdict:
    """Verify a completion that is only the answer; a scratchpad before it is skipped."""
    if CLOSING_TAG in text:
        return verify_scratchpad(text, answer)
    return _compare_line(text, 0, gold_digits(answer), "direct")


def _compare_line(text: str, begin: int, gold: str, rule: str) -> Verdict:
    begin += len(text[begin:]) - len(text[begin:].lstrip())
    lead = _LEAD.match(text, begin)
    found = _DIGITS.match(text, lead.end() if lead else begin)
    rest = text[found.end() :].lstrip(" \t\r") if found else ""
    rest = rest.removeprefix(".") if lead else rest
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


class ScratchpadOptions(Section):
    """None."""


class Scratchpad:
    """Digits behind formal working, as in the paper's addition."""

    kind = "scratchpad"
    options: type[Section] = ScratchpadOptions
    required_option: str | None = None
    layout = Layout(
        head="Input:\n",
        separator="\n",
        block=re.compile(
            r"Input:\n(?P<question>[^\n]+)\nTarget:(?P<hint>[^\n]*)\n(?P<rationale>.+)", re.DOTALL
        ),
        sign=re.compile(r"\AInput:"),
        cue="Target:",
        working=(OPENING_TAG, CLOSING_TAG),
    )
    hint_forms: tuple[HintForm, ...] = (HintForm.AFTER_TARGET, *ANY_KIND)
    takes_choices = False
    solution_mark: str | None = None
    slow_gold = False
    closed_answers = False
    runs_programs = False
    needs_sandbox = False
    answer_shapes: tuple[str, ...] | None = None
    how_to_write = '"Input:", the question, "Target:" and the scratchpad, each on its own line'
    how_to_end = 'End it with "</scratch>" and the answer on the next line'

    def native(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return row

    def ask(self, example: Asked, *, hinted: bool) -> str:
        return f"Input:\n{example.question}\nTarget:" + (f" {example.answer}" if hinted else "")

    def hint(self, example: Asked) -> str:
        return example.answer

    def direct_answer(self, example: Asked) -> str:
        return example.answer

    def gold_text(self, example: Asked) -> str:
        return example.answer

    def read_gold(self, example: Example) -> Example:
        return example

    def check_gold(self, example: Asked, options: TaskOptions) -> None:
        gold_digits(example.answer)
        check_against_itself(self, example, options, f"{OPENING_TAG}\n{CLOSING_TAG}\n{example.answer}")

    def canonical_gold(self, example: Asked) -> str:
        return gold_digits(example.answer)

    def any_gold(self, example: Example) -> Example:
        return replace(example, answer="0")

    def other_gold(self, example: Example) -> Example:
        return replace(example, answer=f"other than {example.answer}")

    def guess_chance(self, example: Asked) -> float | None:
        return None

    def grade(self, example: Asked, text: str, options: TaskOptions) -> Verdict:
        return verify_scratchpad(text, example.answer)

    def grade_direct(self, example: Asked, text: str, options: TaskOptions) -> Verdict:
        return verify_direct_scratchpad(text, example.answer)

    def is_answer(self, example: Asked, text: str) -> bool:
        return grade(self, example, text, direct=True).is_correct

    def asserted_at(self, example: Asked, text: str) -> int | None:
        """At the start, where anything is said before the working begins."""
        before, tag, _ = text.partition(OPENING_TAG)
        return 0 if tag and tokens(before) else None

    def second_opinion(self, example: Asked, text: str) -> bool | None:
        return last_line_digits(text, example.answer)
