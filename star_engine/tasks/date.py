"""Calendar dates, compared as ISO 8601. What can be read in two ways, such as 03/05/2024, is no answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from star_engine.section import Section
from star_engine.tasks.examples import Asked, Example
from star_engine.tasks.grading import behind_hashes, check_against_itself, grade, stated_in_first_sentence
from star_engine.tasks.hints import ANY_KIND, HintForm
from star_engine.tasks.layout import QUESTION_AND_ANSWER, answer_in_parentheses, ask_question
from star_engine.tasks.reading.correction import Says, is_corrected
from star_engine.tasks.reading.date import DateFlaw, DateFound, Order, read_date
from star_engine.tasks.reading.final_text import FinalText, Stated, read_final_text, values_that_stand, within
from star_engine.tasks.reading.standing import is_taken_back
from star_engine.tasks.reading.statements import Form, Statement
from star_engine.tasks.task import TaskOptions
from star_engine.tasks.verdict import BadGold, Verdict, VerdictCode, no_answer


def gold_date(answer: str, order: Order | None = None) -> str:
    """A gold answer in ISO 8601. Raises BadGold where it is no date, or one that can be read in two ways."""
    found = read_date(answer, 0, len(answer), order)
    if found is DateFlaw.ORDER_UNKNOWN:
        raise BadGold(
            "can be read in two ways; write it like 2024-03-05 or 5 March 2024, or set date_order to "
            "day_first or month_first"
        )
    if isinstance(found, DateFlaw):
        raise BadGold("is not one date; write it like 2024-03-05 or 5 March 2024, or choose the kind exact")
    return found.value.isoformat()


def verify_date(text: str, answer: str, date_order: Order | None = None) -> Verdict:
    """The last statement that stands must be the gold date."""
    gold = gold_date(answer, date_order)
    final = read_final_text(text)
    if final is None:
        return no_answer(VerdictCode.UNPARSED, "thinking_not_closed")
    standing = values_that_stand(final, lambda one: _read(final, one, date_order))
    if not standing:
        return no_answer(VerdictCode.UNPARSED, "no_anchor")
    stated = standing[-1].value
    if isinstance(stated, DateFlaw):
        return no_answer(VerdictCode.UNPARSED, stated)
    if any(isinstance(one.value, DateFound) and one.value.value != stated.value for one in standing):
        return no_answer(VerdictCode.AMBIGUOUS, "anchors_disagree")
    if _is_corrected(final, stated, date_order):
        return no_answer(VerdictCode.AMBIGUOUS, "retracted")
    return _compared(text, final, stated, gold, str(standing[-1].statement.form))


def verify_direct_date(text: str, answer: str, date_order: Order | None = None) -> Verdict:
    """Verify a completion that is only the answer: its first line, unless an anchor says where to look."""
    gold = gold_date(answer, date_order)
    final = read_final_text(text)
    if final is None:
        return no_answer(VerdictCode.UNPARSED, "thinking_not_closed")
    begin = len(final.text) - len(final.text.lstrip())
    found = read_date(final.text, begin, final.end, date_order)
    if isinstance(found, DateFlaw):
        return verify_date(text, answer, date_order)
    if _is_corrected(final, found, date_order):
        return no_answer(VerdictCode.AMBIGUOUS, "retracted")
    return _compared(text, final, found, gold, "direct")


def _read(final: FinalText, one: Statement, order: Order | None) -> Stated[DateFound | DateFlaw] | None:
    if one.form in (Form.VALUE_FIRST, Form.CHOSEN):
        return None
    one = within(one, final.end)
    found = read_date(final.text, one.begin, one.end, order)
    if isinstance(found, DateFlaw):
        is_prose = found is DateFlaw.NO_DATE and one.form is Form.ANSWER_IS
        return None if is_prose else Stated(one, found, one.begin, one.end)
    checked = one.form not in (Form.HASHES, Form.TAG)
    if checked and is_taken_back(final.text, final.sentences, found.end):
        return None
    return Stated(one, found, found.start, found.end)


def _is_corrected(final: FinalText, stated: DateFound, order: Order | None) -> bool:
    def judge(begin: int, end: int) -> Says:
        found = [read_date(final.text, at, end, order) for at in _starts(final.text, begin, end)]
        values = [one.value for one in found if isinstance(one, DateFound)]
        if not values:
            return Says.NOTHING
        return Says.SAME if values[-1] == stated.value else Says.OTHER

    return is_corrected(final.text, final.sentences, stated.end, final.end, judge)


def _starts(text: str, begin: int, end: int) -> list[int]:
    """Where a word or number begins, of the first 60 words: a date begins at one of them."""
    starts = [at for at in range(begin, min(end, begin + 400)) if text[at].isalnum()]
    return [at for at in starts if at == begin or not text[at - 1].isalnum()][:60]


def _compared(text: str, final: FinalText, found: DateFound, gold: str, rule: str) -> Verdict:
    start, end = final.plain.original(found.start, found.end)
    canonical = found.value.isoformat()
    code = VerdictCode.CORRECT if canonical == gold else VerdictCode.WRONG
    return Verdict(code, text[start:end], canonical, rule, (start, end))


class DateOptions(Section):
    date_order: Order | None = None
    """How 03/05/2024 is read: day_first or month_first. Unset, such a date is no answer."""


class Date:
    """A calendar date, compared as ISO 8601."""

    kind = "date"
    options: type[Section] = DateOptions
    required_option: str | None = None
    layout = QUESTION_AND_ANSWER
    hint_forms: tuple[HintForm, ...] = ANY_KIND
    takes_choices = False
    solution_mark: str | None = "####"
    slow_gold = False
    closed_answers = False
    runs_programs = False
    needs_sandbox = False
    answer_shapes: tuple[str, ...] | None = ("date",)
    how_to_write = '"Q: question" and on the next line "A: rationale #### answer"'
    how_to_end = 'End it with "#### 2024-03-05" or "The answer is March 5, 2024."'

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
        gold_date(example.answer, options.get("date_order"))
        check_against_itself(self, example, options, behind_hashes(example))

    def canonical_gold(self, example: Asked) -> str:
        return gold_date(example.answer)

    def any_gold(self, example: Example) -> Example:
        return replace(example, answer="2000-01-01")

    def other_gold(self, example: Example) -> Example:
        return replace(example, answer=f"other than {example.answer}")

    def guess_chance(self, example: Asked) -> float | None:
        return None

    def grade(self, example: Asked, text: str, options: TaskOptions) -> Verdict:
        return verify_date(text, example.answer, **options)

    def grade_direct(self, example: Asked, text: str, options: TaskOptions) -> Verdict:
        return verify_direct_date(text, example.answer, **options)

    def is_answer(self, example: Asked, text: str) -> bool:
        return grade(self, example, text, direct=True).is_correct

    def asserted_at(self, example: Asked, text: str) -> int | None:
        return stated_in_first_sentence(self, example, text)

    def second_opinion(self, example: Asked, text: str) -> bool | None:
        return None
