"""Multiple choice: the letter in parentheses of CommonsenseQA (section 4.4 of the paper)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from star_engine.tasks.reading.anchors import retracted_after
from star_engine.tasks.reading.choice_marks import Mark, Options, mark_choices, read_options
from star_engine.tasks.verdict import BadGold, Verdict, VerdictCode, no_answer

_BARE_LETTER = re.compile(r"[\s*_(]*([A-Za-z])[\s*_).:,]*")
_LETTER_FIRST = re.compile(r"[\s*_]*\(?([A-Za-z])[).:][\s*_]+(?=\S)")


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
    """A letter in parentheses behind "answer is" or at the end, or one choice's text behind "answer is"."""
    options = read_options(choices)
    gold = gold_label(answer, options)
    marked = mark_choices(text, options)
    sentences = marked.answer_sentences()
    final = marked.final_sentence()
    for span in [*(sentence for _, sentence in sentences), final]:
        if len({mark.label for mark in marked.letters_in(span)}) > 1:
            return no_answer(VerdictCode.AMBIGUOUS, "several_letters")
    values = [value for begin, (_, end) in sentences if (value := marked.value_behind(begin, end))]
    if not values and (at_end := marked.letter_at_end(final)):
        values = [(at_end, "letter_at_end")]
    if not values:
        return no_answer(VerdictCode.UNPARSED, "no_choice_stated")
    stated = {value.label for value, _ in values} | {mark.label for mark in marked.letters_in(final)}
    if len(stated) > 1 or any(marked.contradicts(value) for value, _ in values):
        return no_answer(VerdictCode.AMBIGUOUS, "answers_disagree")
    if retracted_after(text, values[-1][0].end):
        return no_answer(VerdictCode.AMBIGUOUS, "retracted")
    return _judged(text, values[-1][0], gold, values[-1][1])


def verify_direct_choice(text: str, answer: str, choices: Sequence[str] | None) -> Verdict:
    """For a completion that is only the answer: "b", "(b).", "b) blotter", "blotter (b)", "blotter"."""
    options = read_options(choices)
    gold = gold_label(answer, options)
    begin = len(text) - len(text.lstrip())
    found = _whole_line(text[begin:].split("\n", 1)[0], begin, options)
    if len({mark.label for mark in found}) > 1:
        return no_answer(VerdictCode.AMBIGUOUS, "answers_disagree")
    if found and not retracted_after(text, found[0].end):
        return _judged(text, found[0], gold, "direct")
    return verify_choice(text, answer, choices)


def _whole_line(line: str, begin: int, options: Options) -> list[Mark]:
    """Every reading of a line that is nothing but a choice: its letter, its letter and text, its text."""
    marks = []
    if (bare := _BARE_LETTER.fullmatch(line)) and (label := options.label(bare[1])):
        marks.append(Mark(label, begin + bare.start(1), begin + bare.end(1)))
    if (first := _LETTER_FIRST.match(line)) and (label := options.label(first[1])):
        of_text = options.label_of_text(line[first.end() :])
        both = (label, of_text) if of_text else ()
        marks += [Mark(one, begin + first.start(1), begin + first.end(1)) for one in both]
    if of_text := options.label_of_text(line):
        marks.append(Mark(of_text, begin, begin + len(line.rstrip(" \t.,;:!"))))
    return marks


def _judged(text: str, mark: Mark, gold: str, rule: str) -> Verdict:
    code = VerdictCode.CORRECT if mark.label == gold else VerdictCode.WRONG
    return Verdict(code, text[mark.start : mark.end], mark.label, rule, (mark.start, mark.end))
