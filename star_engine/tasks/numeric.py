"""Numbers: GSM8K (section 4.5 of the paper) and its like, with commas, units and decimals read as written."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Literal

from pydantic import field_validator

from star_engine.section import Section
from star_engine.tasks.examples import Asked, Example
from star_engine.tasks.grading import behind_hashes, check_against_itself, grade, stated_in_first_sentence
from star_engine.tasks.hints import ANY_KIND, HintForm
from star_engine.tasks.layout import QUESTION_AND_ANSWER, answer_in_parentheses, ask_question
from star_engine.tasks.reading.anchors import Anchor, Rule, find_anchors, retracted_after
from star_engine.tasks.reading.number import Flaw, Number, read_number
from star_engine.tasks.reading.number_words import read_number_words
from star_engine.tasks.reading.words import tokens
from star_engine.tasks.second_opinion import last_number
from star_engine.tasks.task import TaskOptions
from star_engine.tasks.verdict import BadGold, Verdict, VerdictCode, no_answer

# The last number of a text; not the 45 of 5:45, nor a minus that belongs to 48-2.
_LONE_NUMBER = re.compile(r"(?<![\w.,:/^])(?:(?<![0-9)\]][ ])[-−])?\$?\.?[0-9][0-9,./:]*(?:[eE][-+]?[0-9]+)?")
Fallback = Literal["last_number"]
_PLAIN_NUMBER = re.compile(r"-?[0-9]{1,15}")
_NUMBER = re.compile(r"[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?")
_CALCULATION = re.compile(r"[0-9)%]\s?[-+*/×÷−–^x]\s?[$€£(]*[0-9.]")
_OPERATION = re.compile(
    r"[-+*/×÷=−%^]|\b(?:x|times|plus|minus|half|twice|double|sum|total|each|per|and)\b", re.IGNORECASE
)


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


class NumericOptions(Section):
    fallback: Fallback | None = None
    """Where no answer is marked as one: null leaves it unparsed, last_number takes the last number."""

    @field_validator("fallback", mode="before")
    @classmethod
    def _known(cls, fallback: Any) -> Any:
        if fallback not in (None, "last_number"):
            raise ValueError(f"fallback {fallback!r} is unknown; use last_number or leave it out")
        return fallback


class Numeric:
    """A number after "####", as in GSM8K."""

    kind = "numeric"
    options: type[Section] = NumericOptions
    required_option: str | None = None
    layout = QUESTION_AND_ANSWER
    hint_forms: tuple[HintForm, ...] = ANY_KIND
    takes_choices = False
    solution_mark: str | None = "####"
    slow_gold = False
    closed_answers = False
    how_to_write = '"Q: question" and on the next line "A: rationale #### answer"'
    how_to_end = 'End it with "#### answer"'

    def ask(self, example: Asked, *, hinted: bool) -> str:
        return ask_question(example, hinted=hinted)

    def hint(self, example: Asked) -> str:
        return answer_in_parentheses(example)

    def direct_answer(self, example: Asked) -> str:
        return example.answer

    def gold_text(self, example: Asked) -> str:
        return example.answer

    def read_gold(self, example: Example) -> Example:
        return example

    def check_gold(self, example: Asked, options: TaskOptions) -> None:
        # Every rule reads a plain number as what it is, so a million of them need not take 0.2 ms each.
        if not _PLAIN_NUMBER.fullmatch(example.answer):
            gold_number(example.answer)
            check_against_itself(self, example, options, behind_hashes(example))

    def canonical_gold(self, example: Asked) -> str:
        return gold_number(example.answer).canonical

    def any_gold(self, example: Example) -> Example:
        return replace(example, answer="0")

    def other_gold(self, example: Example) -> Example:
        return replace(example, answer=f"other than {example.answer}")

    def guess_chance(self, example: Asked) -> float | None:
        return None

    def grade(self, example: Asked, text: str, options: TaskOptions) -> Verdict:
        return verify_numeric(text, example.answer, **options)

    def grade_direct(self, example: Asked, text: str, options: TaskOptions) -> Verdict:
        return verify_direct_numeric(text, example.answer, **options)

    def is_answer(self, example: Asked, text: str) -> bool:
        return grade(self, example, text, direct=True).is_correct

    def asserted_at(self, example: Asked, text: str) -> int | None:
        """What stands behind a calculation is reasoned: "96 / 12 = 8" is short, but it is reasoning."""
        at = stated_in_first_sentence(self, example, text)
        at = _number_out_of_nowhere(example, text) if at is None else at
        return None if at is None or _CALCULATION.search(text[:at]) else at

    def second_opinion(self, example: Asked, text: str) -> bool | None:
        return last_number(text, example.answer)


def _number_out_of_nowhere(example: Asked, text: str) -> int | None:
    """The gold number where nothing has been calculated yet, though the question does not hold it."""
    gold = read_number(example.answer, 0, len(example.answer))
    if not isinstance(gold, Number):
        return None
    asked = {found[0].replace(",", "") for found in _NUMBER.finditer(example.question)}
    asked |= {str(read_number_words(word)) for word in tokens(example.question)}
    if gold.canonical in asked:
        return None
    operation = _OPERATION.search(text)
    until = operation.start() if operation else len(text)
    for found in _NUMBER.finditer(text, 0, until):
        is_operand = operation and not operation[0].isalpha() and found.end() + 2 >= until
        if found[0].replace(",", "") == gold.canonical and not is_operand:
            return found.start()
    return None
