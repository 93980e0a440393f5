"""Mathematical expressions, compared by math-verify: anchored text only, in a process of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import Field

from star_engine.section import Section
from star_engine.tasks.exact import Exact, is_text_corrected
from star_engine.tasks.examples import Asked, Example
from star_engine.tasks.grading import behind_hashes, check_against_itself
from star_engine.tasks.hints import ANY_KIND, HintForm
from star_engine.tasks.layout import QUESTION_AND_ANSWER, answer_in_parentheses, ask_question
from star_engine.tasks.reading.correction import Says, is_corrected
from star_engine.tasks.reading.final_text import FinalText, Stated, read_final_text, values_that_stand, within
from star_engine.tasks.reading.math_form import as_gold, bare_expression, equal_without_library, whole_number
from star_engine.tasks.reading.math_process import PROCESS, MathCrash, MathTimeout
from star_engine.tasks.reading.numbers.ending import last_sentence
from star_engine.tasks.reading.numbers.number_conclusion import MAX_CHARACTERS as MAX_NUMERALS
from star_engine.tasks.reading.numbers.numerals import numeral_value, numerals
from star_engine.tasks.reading.numbers.result_wording import CONCLUDES, UNCERTAIN
from star_engine.tasks.reading.second_opinion import last_box
from star_engine.tasks.reading.standing import is_taken_back
from star_engine.tasks.reading.statements import Form, Statement
from star_engine.tasks.task import TaskOptions
from star_engine.tasks.verdict import BadGold, SlowGold, Verdict, VerdictCode, no_answer

_ASIDE = re.compile(r",?\s(?:where|which|since|because)\s", re.IGNORECASE)  # "is 12, where 12 = 3 * 4"
_GIVEN = re.compile(r"\s*[A-Za-z](?:_\w|_\{\w+\})?(?:\([a-z]\))?\s*=\s*([^=<>≠≤≥]+)")
# A display that the text ends with: \[x = 7\]
_LAST_DISPLAY = re.compile(r"(?:\\\[|\$\$)([^\[\]$\n]{1,200}?)[\s.,]*(?:\\\]|\$\$)[\s.]*$")
_BETWEEN_BOXES = re.compile(
    r"(?=.{0,60}(?:\b(?:and|or)\b|,))(?:[\s$}.,;&]|\\[()\[\],; ]|\\q?quad"
    r"|\\text\s*\{[\s,]*(?:and|or)[\s,]*\}|and|or"
    r"|[A-Za-z](?:_\d)?\s*=|\\boxed\s*\{)*",
    re.DOTALL,
)
DEFAULT_TIMEOUT = 5.0  # seconds per completion; a plain comparison takes 0.01
MAX_CHARACTERS = 1000  # a longer answer is run-on text, and parsing time grows faster than length


def gold_expression(answer: str, timeout_s: float = DEFAULT_TIMEOUT) -> str:
    """A gold answer without dollar signs. Raises BadGold where math-verify cannot read it."""
    gold = bare_expression(answer)
    if not gold:
        raise BadGold("is empty")
    if whole_number(gold) is not None:
        return gold
    try:
        reply = PROCESS.ask(gold, [gold], timeout_s)
    except MathTimeout:
        raise SlowGold(f"takes math-verify longer than {timeout_s:g} s to read; simplify it") from None
    if reply.get("equal") != [True]:
        raise BadGold("is not read as an expression; write it in LaTeX with no words around it, or use exact")
    return gold


_SPACING = r"(?<!\\)\\[,;:!> ]|\\q?quad(?![a-zA-Z])|~"  # of LaTeX
_BEFORE = re.compile(rf'(?:[ \t\r\n*_`"“:]|{_SPACING})+')
_BEHIND = re.compile(rf'(?:{_SPACING}|[ \t\r\n*_`"”.,;:])+\Z')


@dataclass(frozen=True, slots=True)
class Expression:
    """A stated expression as it stands in the completion, LaTeX and all, and where."""

    text: str
    start: int
    end: int
    written: str | None = None  # what stands there, where `text` is the list that several boxes make


def verify_math(text: str, answer: str, timeout_s: float = DEFAULT_TIMEOUT) -> Verdict:
    """The last statement that stands must be an expression equal to the gold answer."""
    final = read_final_text(text)
    if final is None:
        return no_answer(VerdictCode.UNPARSED, "thinking_not_closed")
    standing = values_that_stand(final, lambda one: _read(text, final, one))
    if not standing:
        concluded = _concluded(text, final)
        if concluded is None:
            return no_answer(VerdictCode.UNPARSED, "no_anchor")
        return _compared([concluded], answer, timeout_s, "conclusion")
    last = standing[-1]
    if last.statement.form is Form.BOXED and (listed := _list_of_boxes(text, final)):
        return _compared([listed], answer, timeout_s, str(Form.BOXED))
    if _is_corrected(final, last.value.text, last.end):
        return no_answer(VerdictCode.AMBIGUOUS, "retracted")
    return _compared([one.value for one in standing], answer, timeout_s, str(last.statement.form))


def verify_direct_math(text: str, answer: str, timeout_s: float = DEFAULT_TIMEOUT) -> Verdict:
    """Verify a completion that is only the answer: its first line, unless an anchor says where to look."""
    final = read_final_text(text)
    if final is None or any(_read(text, final, one) for one in final.statements):
        return verify_math(text, answer, timeout_s)
    begin = len(text) - len(text.lstrip())
    line = text[begin:].split("\n", 1)[0]
    return _compared([_trimmed(text, begin, begin + len(line))], answer, timeout_s, "direct")


def _read(text: str, final: FinalText, one: Statement) -> Stated[Expression] | None:
    """The expression of a box, of the math behind a phrase, or else of its sentence."""
    if one.form in (Form.VALUE_FIRST, Form.CHOSEN):
        return None
    one = within(one, final.end)
    begin, end = _extent(final, one)
    if begin >= end:
        return None
    checked = one.form not in (Form.HASHES, Form.TAG)
    if checked and is_taken_back(final.text, final.sentences, end):
        return None
    stated = _raw(text, final, begin, end)
    return Stated(one, stated, begin, end) if stated.text else None


def _list_of_boxes(text: str, final: FinalText) -> Expression | None:
    """The list that the last boxes make: "\\boxed{2} and \\boxed{3}"."""
    spans = final.plain.raw_values
    first = len(spans) - 1
    while first > 0 and _BETWEEN_BOXES.fullmatch(text, spans[first - 1][1], spans[first][0]):
        first -= 1
    values = [_trimmed(text, *one).text for one in spans[first:]]
    if len(values) < 2 or len(set(values)) < len(values):
        return None
    extent = spans[first][0], spans[-1][1]
    return Expression(", ".join(values), *extent, text[slice(*extent)])


def _concluded(text: str, final: FinalText) -> Expression | None:
    """The 5 of a last sentence "Hence, $n = 5$.": one formula that gives a name its value."""
    span = last_sentence(final)
    if span is None or final.speaks(*span):
        return None
    display = _LAST_DISPLAY.search(text, max(final.part[0], final.part[1] - MAX_CHARACTERS), final.part[1])
    given = _GIVEN.fullmatch(text, *display.span(1)) if display else None
    if given:
        return _trimmed(text, *given.span(1))
    sentence = final.text[slice(*span)]
    inside = [n for n, math in enumerate(final.plain.maths) if span[0] <= math[0] and math[1] <= span[1]]
    if len(inside) != 1 or not CONCLUDES.search(sentence) or UNCERTAIN.search(sentence):
        return None
    if re.search(r"\w", final.text[final.plain.maths[inside[0]][1] : span[1]]):
        return None
    begin, end = final.plain.raw_maths[inside[0]]
    given = _GIVEN.fullmatch(text, begin, end)
    return _trimmed(text, given.start(1), end) if given else None


def _extent(final: FinalText, one: Statement) -> tuple[int, int]:
    """Where the expression stands in the plain text."""
    if one.form is not Form.ANSWER_IS:
        return one.begin, one.end
    stop = min(one.end, final.sentences.around(one.begin, one.begin)[1])
    maths = [math for math in final.plain.maths if one.begin <= math[0] and math[1] <= stop]
    if maths and not re.search(r"\w", final.text[one.begin : maths[0][0]]):
        end = maths[0][1]
        for following in maths[1:]:
            if re.fullmatch(r"\s*(?:,|,?\s*(?:and|or)\b)\s*", final.text[end : following[0]]):
                end = following[1]
        return maths[0][0], end
    aside = _ASIDE.search(final.text, one.begin, stop)
    return one.begin, aside.start() if aside else stop


def _raw(text: str, final: FinalText, begin: int, end: int) -> Expression:
    """The expression as written, with the braces and delimiters that undressing took off."""
    for spans, originals in (
        (final.plain.boxes, final.plain.raw_boxes),
        (final.plain.values, final.plain.raw_values),
        (final.plain.maths, final.plain.raw_maths),
    ):
        if (begin, end) in spans:
            return _trimmed(text, *originals[spans.index((begin, end))])
    start, stop = final.plain.original(begin, end)
    while text[start:stop].count("{") > text[start:stop].count("}") and text[stop : stop + 1] == "}":
        stop += 1
    return _trimmed(text, start, stop)


def _trimmed(text: str, begin: int, end: int) -> Expression:
    """Without white space, emphasis, quotes and a stop around it; `!` and `'` belong to an expression."""
    before = _BEFORE.match(text, begin, end)
    begin = before.end() if before else begin
    behind = _BEHIND.search(text, begin, end)
    end = behind.start() if behind else end
    return Expression(text[begin:end], begin, end)


def _is_corrected(final: FinalText, stated: str, position: int) -> bool:
    number = numeral_value(bare_expression(stated))
    if number is None:
        return is_text_corrected(final, stated, position)

    def judge(begin: int, end: int) -> Says:
        begin = max(begin, end - MAX_NUMERALS)
        maths = [math for math in final.plain.maths if begin <= math[0] and math[1] <= end]
        said = [(math[1], bare_expression(final.text[slice(*math)])) for math in maths]
        said += [(one.end(), one[0]) for one in numerals(final.text, begin, end)]
        found = [numeral_value(one) for _, one in sorted(said)]
        found = [value for value in found if value is not None]
        return Says.NOTHING if not found else Says.SAME if found[-1] == number else Says.OTHER

    return is_corrected(final.text, final.sentences, position, final.end, judge)


def _compared(stated: list[Expression], answer: str, timeout_s: float, rule: str) -> Verdict:
    if not all(bare_expression(one.text) and len(one.text) <= MAX_CHARACTERS for one in stated):
        return no_answer(VerdictCode.UNPARSED, "nothing_stated")
    gold = bare_expression(answer)
    bare = [as_gold(gold, bare_expression(one.text)) for one in stated]
    equal = [equal_without_library(gold, one) for one in bare]
    asked = [one for one, known in zip(bare, equal, strict=True) if known is None]
    if asked:
        try:
            reply = PROCESS.ask(gold, asked, timeout_s)
        except MathTimeout:
            return no_answer(VerdictCode.ERROR, "timeout")
        except MathCrash:
            return no_answer(VerdictCode.ERROR, "math_process_died")
        if "error" in reply or not reply["gold"]:
            return no_answer(VerdictCode.ERROR, reply.get("error", "gold_unreadable"))
        replies = iter(reply["equal"])
        equal = [next(replies) if known is None else known for known in equal]
        if None in equal:
            return no_answer(VerdictCode.UNPARSED, "not_an_expression")
    if len(set(equal)) > 1:
        return no_answer(VerdictCode.AMBIGUOUS, "anchors_disagree")
    code = VerdictCode.CORRECT if equal[0] else VerdictCode.WRONG
    last = stated[-1]
    return Verdict(code, last.written or last.text, bare_expression(last.text), rule, (last.start, last.end))


class MathOptions(Section):
    timeout_s: Annotated[float, Field(gt=0, le=60)] | None = None
    """Seconds that comparing one completion may take; null: 5."""


class Math:
    """An expression in a box, compared by math-verify. Filters read it as `exact`: they cannot wait."""

    kind = "math"
    options: type[Section] = MathOptions
    required_option: str | None = None
    layout = QUESTION_AND_ANSWER
    hint_forms: tuple[HintForm, ...] = ANY_KIND
    takes_choices = False
    solution_mark: str | None = "####"
    slow_gold = True
    closed_answers = False
    runs_programs = False
    needs_sandbox = False
    answer_shapes: tuple[str, ...] | None = ("expression",)
    how_to_write = '"Q: question" and on the next line "A: rationale \\boxed{answer}"'
    how_to_end = 'End it with "\\boxed{answer}" or "#### answer"'

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
        gold_expression(example.answer)
        check_against_itself(self, example, options, behind_hashes(example))

    def canonical_gold(self, example: Asked) -> str:
        return gold_expression(example.answer)

    def any_gold(self, example: Example) -> Example:
        return replace(example, answer="0")

    def other_gold(self, example: Example) -> Example:
        return replace(example, answer=f"other than {example.answer}")

    def guess_chance(self, example: Asked) -> float | None:
        return None

    def grade(self, example: Asked, text: str, options: TaskOptions) -> Verdict:
        return verify_math(text, example.answer, **options)

    def grade_direct(self, example: Asked, text: str, options: TaskOptions) -> Verdict:
        return verify_direct_math(text, example.answer, **options)

    def is_answer(self, example: Asked, text: str) -> bool:
        return Exact().is_answer(example, text)

    def asserted_at(self, example: Asked, text: str) -> int | None:
        return Exact().asserted_at(example, text)

    def second_opinion(self, example: Asked, text: str) -> bool | None:
        return last_box(text, example.answer)
