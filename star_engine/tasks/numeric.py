"""Numbers: GSM8K (section 4.5 of the paper) and its like, with commas, units and decimals read as written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from star_engine.section import Section
from star_engine.tasks.examples import Asked, Example
from star_engine.tasks.grading import behind_hashes, check_against_itself, grade, stated_in_first_sentence
from star_engine.tasks.hints import ANY_KIND, HintForm
from star_engine.tasks.layout import QUESTION_AND_ANSWER, answer_in_parentheses, ask_question
from star_engine.tasks.reading.correction import Says, is_corrected
from star_engine.tasks.reading.final_text import FinalText, Stated, read_final_text, values_that_stand, within
from star_engine.tasks.reading.numbers.asserted import number_out_of_nowhere
from star_engine.tasks.reading.numbers.number import read_number
from star_engine.tasks.reading.numbers.number_conclusion import (
    MAX_CHARACTERS,
    concluded_number,
    number_of_sentence,
    only_number,
    says_that_it_concludes,
)
from star_engine.tasks.reading.numbers.number_value import Flaw, Number
from star_engine.tasks.reading.numbers.numerals import numeral_value, numerals
from star_engine.tasks.reading.numbers.tolerance import Gold, Tolerance, read_tolerance
from star_engine.tasks.reading.second_opinion import last_number
from star_engine.tasks.reading.standing import is_taken_back
from star_engine.tasks.reading.statements import Form, Statement
from star_engine.tasks.task import TaskOptions
from star_engine.tasks.verdict import BadGold, Verdict, VerdictCode, no_answer

# The last number of a text; not the 45 of 5:45, nor a minus that belongs to 48-2.
_LONE_NUMBER = re.compile(r"(?<![\w.,:/^])(?:(?<![0-9)\]][ ])[-−])?\$?\.?[0-9][0-9,./:]*(?:[eE][-+]?[0-9]+)?")
Fallback = Literal["last_number"]
RESULT = "result"  # the rule of a last sentence that gives a number and no word that it concludes
_PLAIN_NUMBER = re.compile(r"-?[0-9]{1,15}")
_DECIMAL_COMMA = re.compile(r"\d[.\s]\d{3},\d|\d\.\d{3}\.\d{3}(?!\d)")  # 1.234,5 and 1.234.567
_BY_COMMA = (
    "is {0} by a decimal comma, by which 1.234 is 1234, though it would be read as 1.234; write every answer "
    "with a point and without separators, such as {0}"
)
_GROUPS = re.compile(
    r"[\s*$}]{1,4}(pair|couple|twin|trio|triplet|quartet|fortnight|decade|centur(?:y|ies)|score)(?:s|ies)?\b",
    re.IGNORECASE,
)
_CALCULATION = re.compile(r"[0-9)%]\s?[-+*/×÷−–^x]\s?[$€£(]*[0-9.]")


def gold_number(answer: str) -> Number:
    """The number that a gold answer is. Raises BadGold where it is none."""
    if "####" in answer or "\n" in answer.strip():
        raise BadGold(
            "looks like a whole solution; give only the number, which in GSM8K is what follows '####'"
        )
    found = read_number(answer, 0, len(answer))
    if isinstance(found, Flaw) or re.search(r"=|[.;:]\s+\S|,\s+\S|\S\s*\(", answer):
        raise BadGold(
            "is not one number; write it like 72, 1,080, -0.5, 3/4, 1 1/2 or 10%, or choose the kind "
            "exact, math or pattern"
        )
    return found


def verify_numeric(
    text: str, answer: str, fallback: Fallback | None = None, tolerance: Tolerance | None = None
) -> Verdict:
    """The last statement that stands decides; without any, the conclusion of the last sentence.

    `fallback` may read the last number there is where neither is found; `tolerance`: how near is right.
    """
    gold = Gold(gold_number(answer), answer, tolerance)
    final = read_final_text(text)
    if final is None:
        return no_answer(VerdictCode.UNPARSED, "thinking_not_closed")
    standing = values_that_stand(final, lambda one: _read(final, one))
    if not standing:
        return _without_statement(text, final, gold, fallback)
    stated = standing[-1]
    if not all(_agree(one.value, stated.value) for one in standing):
        return no_answer(VerdictCode.AMBIGUOUS, "anchors_disagree")
    if isinstance(stated.value, Flaw):
        several = stated.value is Flaw.SEVERAL_VALUES
        return no_answer(VerdictCode.AMBIGUOUS if several else VerdictCode.UNPARSED, stated.value)
    if _is_corrected(final, stated.value, stated.end):
        return no_answer(VerdictCode.AMBIGUOUS, "retracted")
    return _compared(text, final, stated.value, gold, stated.statement.form)


def verify_direct_numeric(
    text: str, answer: str, fallback: Fallback | None = None, tolerance: Tolerance | None = None
) -> Verdict:
    """Verify a completion that is only the answer: its first line, unless an anchor says where to look."""
    gold = Gold(gold_number(answer), answer, tolerance)
    final = read_final_text(text)
    if final is None:
        return no_answer(VerdictCode.UNPARSED, "thinking_not_closed")
    begin = len(final.text) - len(final.text.lstrip())
    line = final.text[begin:].split("\n", 1)[0]
    found = read_number(final.text, begin, begin + len(line))
    if isinstance(found, Flaw):
        return verify_numeric(text, answer, fallback, tolerance)
    if _is_corrected(final, found, found.end):
        return no_answer(VerdictCode.AMBIGUOUS, "retracted")
    return _compared(text, final, found, gold, "direct")


def _read(final: FinalText, one: Statement) -> Stated[Number | Flaw] | None:
    """What one statement says; None where it is prose ("the answer is a sum") or taken back at once."""
    one = within(one, final.end)
    found = read_number(final.text, one.begin, one.end)
    if isinstance(found, Flaw):
        if one.form in (Form.VALUE_FIRST, Form.CHOSEN):
            only = only_number(final.text, one.begin, one.end) if one.form is Form.VALUE_FIRST else None
            return Stated(one, only, only.start, only.end) if only else None
        sentence = _sentence_behind_label(final, one) if found is Flaw.NO_NUMBER else None
        if sentence is not None:
            return Stated(one, sentence, sentence.start, sentence.end)
        is_prose = found is Flaw.NO_NUMBER and one.form is Form.ANSWER_IS
        return None if is_prose else Stated(one, found, one.begin, one.end)
    if one.form not in (Form.HASHES, Form.TAG) and is_taken_back(
        final.text, final.sentences, max(found.end, one.end if one.form is Form.BOXED else 0)
    ):
        return None
    return Stated(one, found, found.start, found.end)


def _sentence_behind_label(final: FinalText, one: Statement) -> Number | None:
    """The 42 of "**Answer:** Tom has 42 pens in total."."""
    label = final.text[max(0, one.begin - 9) : one.begin].rstrip()[-1:]
    if (
        one.form is not Form.TAG
        and label not in (":", "\uff1a")
        and not final.text.startswith("that ", one.begin)
    ):
        return None
    stop = min(one.end, final.sentences.around(one.begin, one.begin)[1])
    return number_of_sentence(final, (one.begin, stop), concludes=True)


def _agree(one: Number | Flaw, other: Number | Flaw) -> bool:
    if isinstance(one, Flaw) or isinstance(other, Flaw):
        return True  # what could not be read contradicts nothing
    return one.value == other.value


def _is_corrected(final: FinalText, number: Number, position: int) -> bool:
    def judge(begin: int, end: int) -> Says:
        result = _result(final.text, begin, end)
        return Says.NOTHING if result is None else Says.SAME if result == number.value else Says.OTHER

    return is_corrected(final.text, final.sentences, position, final.end, judge)


def _result(text: str, begin: int, end: int) -> Fraction | None:
    """What a sentence comes to: the number behind its last equals sign, else its last number."""
    equals = text.rfind("=", begin, end)
    begin = max(begin, end - MAX_CHARACTERS)
    found = [
        value
        for one in numerals(text, max(begin, equals), end)
        if (value := numeral_value(one[0])) is not None
    ]
    if not found and equals >= 0:
        return _result(text, begin, equals)
    return found[0 if equals >= 0 else -1] if found else None


def _without_statement(text: str, final: FinalText, gold: Gold, fallback: Fallback | None) -> Verdict:
    concluded = concluded_number(final)
    if concluded and _is_corrected(final, concluded, concluded.end):
        return no_answer(VerdictCode.AMBIGUOUS, "retracted")
    if concluded:
        rule = "conclusion" if says_that_it_concludes(final, concluded) else RESULT
        return _compared(text, final, concluded, gold, rule)
    if not fallback:
        return no_answer(VerdictCode.UNPARSED, "no_anchor")
    every = list(_LONE_NUMBER.finditer(final.text, 0, final.end))
    if not every:
        return no_answer(VerdictCode.UNPARSED, "no_number")
    last = every[-1]
    stop = final.sentences.around(last.start(), last.end())[1]
    found = read_number(final.text, last.start(), stop)
    if isinstance(found, Flaw):
        return no_answer(VerdictCode.UNPARSED, found)
    return _compared(text, final, found, gold, "last_number")


def _compared(text: str, final: FinalText, found: Number, gold: Gold, rule: str) -> Verdict:
    start, end = final.plain.original(found.start, found.end)
    is_right = gold.accepts(found)
    canonical = gold.number.canonical if is_right else found.canonical
    code = VerdictCode.CORRECT if is_right else VerdictCode.WRONG
    return Verdict(code, text[start:end], canonical, str(rule), (start, end))


def _counting_single_things(found: Verdict, example: Asked, text: str) -> Verdict:
    """4 pairs are 8 things: a number of groups is right only where the question counts them."""
    group = _GROUPS.match(text, found.span[1]) if found.is_correct and found.span else None
    if group is None or group[1].lower()[:4] in (example.whole_question + example.answer).lower():
        return found
    return no_answer(VerdictCode.UNPARSED, "counts_groups")


class NumericOptions(Section):
    fallback: Fallback | None = None
    """Where no answer is marked as one: null leaves it unparsed, last_number takes the last number."""
    tolerance: Annotated[str, Field(max_length=20)] | None = None
    """How near a right answer must be: an absolute difference (0.01), one relative to the gold answer (1%),
    or digits: right is what rounds to the gold answer at its decimals. Unset: exact."""

    @field_validator("tolerance", mode="before")
    @classmethod
    def _readable(cls, tolerance: Any) -> Any:
        if isinstance(tolerance, int | float) and not isinstance(tolerance, bool):
            tolerance = f"{tolerance:.12g}"
        if isinstance(tolerance, str):
            read_tolerance(tolerance)  # ValueError with the fix
        return tolerance

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
    runs_programs = False
    needs_sandbox = False
    answer_shapes: tuple[str, ...] | None = ("integer", "decimal", "percentage", "fraction")
    how_to_write = '"Q: question" and on the next line "A: rationale #### answer"'
    how_to_end = 'End it with "#### answer"'

    def native(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return row

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
            found = gold_number(example.answer)
            if _DECIMAL_COMMA.search(example.answer):
                raise BadGold(_BY_COMMA.format(found.canonical))
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
        return _counting_single_things(verify_numeric(text, example.answer, **options), example, text)

    def grade_direct(self, example: Asked, text: str, options: TaskOptions) -> Verdict:
        return _counting_single_things(verify_direct_numeric(text, example.answer, **options), example, text)

    def is_answer(self, example: Asked, text: str) -> bool:
        return grade(self, example, text, direct=True).is_correct

    def asserted_at(self, example: Asked, text: str) -> int | None:
        """What stands behind a calculation is reasoned: "96 / 12 = 8" is short, but it is reasoning."""
        at = stated_in_first_sentence(self, example, text, not_by=RESULT)
        at = number_out_of_nowhere(example.whole_question, example.answer, text) if at is None else at
        return None if at is None or _CALCULATION.search(text[:at]) else at

    def second_opinion(self, example: Asked, text: str) -> bool | None:
        return last_number(text, example.answer)
