"""Mathematical expressions, compared by math-verify: anchored text only, in a process of its own."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from star_engine.section import Section
from star_engine.tasks.exact import Exact, Stated, stated_texts, undecorated
from star_engine.tasks.examples import Asked, Example
from star_engine.tasks.grading import behind_hashes, check_against_itself
from star_engine.tasks.hints import ANY_KIND, HintForm
from star_engine.tasks.layout import QUESTION_AND_ANSWER, answer_in_parentheses, ask_question
from star_engine.tasks.reading.anchors import retracted_after
from star_engine.tasks.reading.math_process import PROCESS, MathCrash, MathTimeout
from star_engine.tasks.reading.number import Number, read_number
from star_engine.tasks.second_opinion import last_box
from star_engine.tasks.task import TaskOptions
from star_engine.tasks.verdict import BadGold, Verdict, VerdictCode, no_answer

DEFAULT_TIMEOUT = 5.0  # seconds per completion; a plain comparison takes 0.01
MOST_CHARACTERS = 1000  # a longer answer is run-on text, and parsing time grows faster than length
_COMMAND = re.compile(r"\\(?:text|mathrm|mathbf|operatorname)\s*\{[^{}]*\}|\\[A-Za-z]+")
_WRAPPED = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}")
_WORD = re.compile(r"[A-Za-z]{3,}")


def gold_expression(answer: str, timeout_s: float = DEFAULT_TIMEOUT) -> str:
    """A gold answer without dollar signs. Raises BadGold where math-verify cannot read it."""
    gold = _bare(answer)
    if not gold:
        raise BadGold("is empty")
    if _reads_without_library(gold):
        return gold
    try:
        reply = PROCESS.ask(gold, [gold], timeout_s)
    except MathTimeout:
        raise BadGold(f"takes math-verify longer than {timeout_s:g} s to read; simplify it") from None
    if reply.get("equal") != [True]:
        raise BadGold("is not read as an expression; write it in LaTeX with no words around it, or use exact")
    return gold


def verify_math(text: str, answer: str, timeout_s: float = DEFAULT_TIMEOUT) -> Verdict:
    """Every anchor must state an expression equal to the gold answer."""
    stated = stated_texts(text)
    if not stated:
        return no_answer(VerdictCode.UNPARSED, "no_anchor")
    if retracted_after(text, max(one.span[1] for one in stated)):
        return no_answer(VerdictCode.AMBIGUOUS, "retracted")
    return _compared(stated, answer, timeout_s)


def verify_direct_math(text: str, answer: str, timeout_s: float = DEFAULT_TIMEOUT) -> Verdict:
    """For a completion that is only the answer: its first line, unless an anchor says where to look."""
    if stated_texts(text):
        return verify_math(text, answer, timeout_s)
    begin = len(text) - len(text.lstrip())
    line = text[begin:].split("\n", 1)[0]
    return _compared([undecorated(text, begin, begin + len(line), "direct")], answer, timeout_s)


def _compared(stated: list[Stated], answer: str, timeout_s: float) -> Verdict:
    if not all(_bare(one.text) and len(one.text) <= MOST_CHARACTERS for one in stated):
        return no_answer(VerdictCode.UNPARSED, "nothing_stated")
    gold = _bare(answer)
    equal = [_equal_without_library(gold, _bare(one.text)) for one in stated]
    asked = [_bare(one.text) for one, known in zip(stated, equal, strict=True) if known is None]
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
    return Verdict(code, stated[0].text, _bare(stated[0].text), str(stated[0].rule), stated[0].span)


def _equal_without_library(gold: str, answer: str) -> bool | None:
    """Decides what math-verify gets wrong: 1e3, 1 1/2, 10 % and 10, words as products of letters."""
    if "".join(gold.split()) == "".join(answer.split()):
        return True
    numbers = _whole_number(gold), _whole_number(answer)
    if numbers[0] and numbers[1]:
        return numbers[0].equals(numbers[1])
    if _has_percent(gold) != _has_percent(answer) or _words(gold) != _words(answer):
        return False
    return None


def _reads_without_library(gold: str) -> bool:
    return _whole_number(gold) is not None


def _whole_number(text: str) -> Number | None:
    found = read_number(text, 0, len(text))
    return found if isinstance(found, Number) and "=" not in text else None


def _has_percent(text: str) -> bool:
    return "%" in text or re.search(r"\bpercent\b", text) is not None


def _words(text: str) -> list[str]:
    """Words outside LaTeX commands: to the library "pairs" is p*a*i*r*s, and so equal to "Paris"."""
    return sorted(_WORD.findall(_COMMAND.sub(" ", text).lower()))


def _bare(text: str) -> str:
    """Without math delimiters and a \\text{} around all of it."""
    bare = text.strip().strip("$").strip().removeprefix("\\(").removesuffix("\\)").strip()
    wrapped = _WRAPPED.fullmatch(bare)
    return wrapped[1].strip() if wrapped else bare


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
    how_to_write = '"Q: question" and on the next line "A: rationale \\boxed{answer}"'
    how_to_end = 'End it with "\\boxed{answer}" or "#### answer"'

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
