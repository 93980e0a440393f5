"""Multiple choice: the letter in parentheses of CommonsenseQA (section 4.4 of the paper) and its like."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from star_engine.section import Section
from star_engine.tasks.examples import Asked, Example, choice_letter, folded
from star_engine.tasks.grading import check_against_itself, grade, stated_in_first_sentence
from star_engine.tasks.hints import ANY_KIND, HINT_MARK, HintForm
from star_engine.tasks.layout import Layout
from star_engine.tasks.reading.choices.choice_marks import LettersDisagree, mark_choices
from star_engine.tasks.reading.choices.choice_options import Mark, Options, read_options
from star_engine.tasks.reading.choices.choice_reading import (
    choice_without_statement,
    is_choice_corrected,
    read_choice,
    whole_line,
)
from star_engine.tasks.reading.final_text import FinalText, Stated, read_final_text, values_that_stand
from star_engine.tasks.reading.second_opinion import last_choice
from star_engine.tasks.reading.statements import Form
from star_engine.tasks.task import TaskOptions
from star_engine.tasks.verdict import BadGold, Verdict, VerdictCode, no_answer


def gold_label(answer: str, options: Options) -> str:
    """The canonical letter of a gold answer. Raises BadGold where it names no choice."""
    letter = answer.strip().strip("().")
    label = options.label(letter) if len(letter) == 1 else None
    if label is None:
        last = chr(ord("a") + len(options.texts) - 1)
        of_text = options.label_of_text(answer)
        hint = f"; the text is that of choice {of_text}" if of_text else ""
        raise BadGold(f"is no choice; give the letter of the right choice, a to {last}{hint}")
    return label


def verify_choice(text: str, answer: str, choices: Sequence[str] | None) -> Verdict:
    """The last statement that stands names a choice by its letter, its text, or both in agreement."""
    options = read_options(choices)
    gold = gold_label(answer, options)
    final = read_final_text(text)
    if final is None:
        return no_answer(VerdictCode.UNPARSED, "thinking_not_closed")
    marked = mark_choices(final.text, options)
    try:
        standing = values_that_stand(final, lambda one: read_choice(final, marked, one))
        stated = standing[-1] if standing else choice_without_statement(final, marked)
    except LettersDisagree as problem:
        return no_answer(VerdictCode.AMBIGUOUS, str(problem))
    if stated is None:
        return no_answer(VerdictCode.UNPARSED, "no_choice_stated")
    if len({one.value.label for one in standing}) > 1:
        return no_answer(VerdictCode.AMBIGUOUS, "answers_disagree")
    if is_choice_corrected(final, marked, stated.value, stated.end):
        return no_answer(VerdictCode.AMBIGUOUS, "retracted")
    return _judged(text, final, stated.value, gold, _rule(final, stated))


def verify_direct_choice(text: str, answer: str, choices: Sequence[str] | None) -> Verdict:
    """Verify a completion that is only the answer: "b", "(b).", "b) blotter", "blotter (b)", "blotter"."""
    options = read_options(choices)
    gold = gold_label(answer, options)
    final = read_final_text(text)
    if final is None:
        return no_answer(VerdictCode.UNPARSED, "thinking_not_closed")
    begin = len(final.text) - len(final.text.lstrip())
    found = whole_line(final.text[begin:].split("\n", 1)[0], begin, options)
    if len({mark.label for mark in found}) > 1:
        return no_answer(VerdictCode.AMBIGUOUS, "letter_and_text_disagree")
    if found and not is_choice_corrected(final, mark_choices(final.text, options), found[0], found[0].end):
        return _judged(text, final, found[0], gold, "direct")
    return verify_choice(text, answer, choices)


def _rule(final: FinalText, stated: Stated[Mark]) -> str:
    written = final.text[stated.start : stated.end].strip("() ")
    if stated.statement.form is Form.ANSWER_IS:
        return "letter" if len(written) == 1 else "option_text"
    return str(stated.statement.form)


def _judged(text: str, final: FinalText, mark: Mark, gold: str, rule: str) -> Verdict:
    code = VerdictCode.CORRECT if mark.label == gold else VerdictCode.WRONG
    start, end = final.plain.original(mark.start, mark.end)
    return Verdict(code, text[start:end], mark.label, rule, (start, end))


class ChoiceOptions(Section):
    """None."""


class Choice:
    """The letter of the right one of several texts, as in CommonsenseQA. The gold answer is a letter."""

    kind = "choice"
    options: type[Section] = ChoiceOptions
    required_option: str | None = None
    layout = Layout(
        head="Q: ",
        separator=" ",
        block=re.compile(
            r"Q: ?(?P<question>.+?)\nAnswer Choices:\n(?P<choices>(?:\([a-z]\) [^\n]+\n)+)"
            r"A:(?P<rationale>.+)",
            re.DOTALL,
        ),
        sign=re.compile(r"\nAnswer Choices:\n"),
    )
    hint_forms: tuple[HintForm, ...] = (HintForm.MARK_ON_CHOICE, *ANY_KIND)
    takes_choices = True
    solution_mark: str | None = None
    slow_gold = False
    closed_answers = True
    runs_programs = False
    needs_sandbox = False
    answer_shapes: tuple[str, ...] | None = None
    how_to_write = '"Q: question", "Answer Choices:", "(a) first", ..., "A: rationale (a)."'
    how_to_end = 'End it with "Therefore, the answer is text (letter)."'

    def native(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return row

    def ask(self, example: Asked, *, hinted: bool) -> str:
        lines = [f"Q: {example.question}", "Answer Choices:"]
        for position, text in enumerate(example.choices or ()):
            letter = choice_letter(position)
            lines.append(
                f"({letter}) {text}" + (f" {HINT_MARK}" if hinted and letter == example.answer else "")
            )
        return "\n".join([*lines, "A:"])

    def hint(self, example: Asked) -> str:
        return HINT_MARK

    def direct_answer(self, example: Asked) -> str:
        return f"({example.answer})."

    def gold_text(self, example: Asked) -> str:
        if not example.choices:
            return example.answer
        return example.choices[ord(example.answer.strip().strip("().").lower()) - ord("a")]

    def read_gold(self, example: Example) -> Example:
        """The letter of the right choice, given as e, E, (e) or as the text of exactly one choice."""
        letter = example.answer.strip("().").casefold()
        choices = example.choices or ()
        letters = [choice_letter(position) for position in range(len(choices))]
        gold = folded(example.answer)
        same = [letters[n] for n, choice in enumerate(choices) if folded(choice) == gold]
        if letter in letters and not [other for other in same if other != letter]:
            return example if letter == example.answer else replace(example, answer=letter)
        if letter not in letters and len(same) == 1:
            return replace(example, answer=same[0])
        several = "fits more than one choice" if same else "is no choice"
        raise BadGold(f"{several}; give a letter from {letters[0]} to {letters[-1]}")

    def check_gold(self, example: Asked, options: TaskOptions) -> None:
        label = gold_label(example.answer, read_options(example.choices))
        text = (example.choices or ())[ord(label) - ord("a")]
        check_against_itself(self, example, options, f"Therefore, the answer is {text} ({label}).")

    def canonical_gold(self, example: Asked) -> str:
        return gold_label(example.answer, read_options(example.choices))

    def any_gold(self, example: Example) -> Example:
        return replace(example, answer=choice_letter(0))

    def other_gold(self, example: Example) -> Example:
        return replace(example, answer=choice_letter(1 if example.answer == choice_letter(0) else 0))

    def guess_chance(self, example: Asked) -> float | None:
        return 1 / len({folded(text) for text in example.choices}) if example.choices else None

    def grade(self, example: Asked, text: str, options: TaskOptions) -> Verdict:
        return verify_choice(text, example.answer, example.choices)

    def grade_direct(self, example: Asked, text: str, options: TaskOptions) -> Verdict:
        return verify_direct_choice(text, example.answer, example.choices)

    def is_answer(self, example: Asked, text: str) -> bool:
        return grade(self, example, text, direct=True).is_correct

    def asserted_at(self, example: Asked, text: str) -> int | None:
        at = stated_in_first_sentence(self, example, text)
        return self._named_at(example, text) if at is None else at

    def second_opinion(self, example: Asked, text: str) -> bool | None:
        return last_choice(text, example.answer, example.choices or ())

    def _named_at(self, example: Asked, text: str) -> int | None:
        """The gold label, or "answer must be <text of the gold choice>"."""
        label = re.escape(example.answer.strip().strip("()."))
        gold = r"\s+".join(map(re.escape, self.gold_text(example).split()))
        named = re.search(
            rf"\(\s*{label}\s*\)|\banswer\s+(?:must|should|would|has\s+to)\s+be\s+(?:an?\s+|the\s+)?{gold}(?!\w)",
            text,
            re.IGNORECASE,
        )
        return named.start() if named else None


def turned(example: Example, by: int) -> Example:
    """The example with its choices turned round by so many places; its gold answer stays the same text."""
    choices = example.choices or ()
    right = (ord(example.answer) - ord("a") - by) % len(choices)
    return replace(example, choices=(*choices[by:], *choices[:by]), answer=choice_letter(right))
