"""Short texts that must be the same, Unicode form, case and white space aside."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace

from star_engine.section import Section
from star_engine.tasks.examples import Asked, Example
from star_engine.tasks.grading import behind_hashes, check_against_itself, grade, stated_in_first_sentence
from star_engine.tasks.hints import ANY_KIND, HintForm
from star_engine.tasks.layout import QUESTION_AND_ANSWER, answer_in_parentheses, ask_question
from star_engine.tasks.reading.anchors import Anchor, Rule, find_anchors, retracted_after
from star_engine.tasks.second_opinion import ends_with
from star_engine.tasks.task import TaskOptions
from star_engine.tasks.verdict import BadGold, Verdict, VerdictCode, no_answer


@dataclass(frozen=True, slots=True)
class Stated:
    """A stated answer without its decoration, and where it stands."""

    text: str
    start: int
    rule: str

    @property
    def span(self) -> tuple[int, int]:
        return self.start, self.start + len(self.text)


_OPENING = re.compile(r"""(?:[\s*_`"'“:]|\\boxed\s*\{|\\(?:text|textbf|mathrm|mathbf)\s*\{|\\[(\[])*""")
_CLOSING = "*_`\"'”’.,;:! \t\r\n"
# A period is no end of a sentence behind these or behind a single letter: "Dr. Who", "U.S. Army".
_ABBREVIATIONS = frozenset({"mr", "mrs", "ms", "dr", "st", "jr", "sr", "prof", "mt", "ft", "no", "vs", "etc"})
_SENTENCE_END = re.compile(r"[.!?;](?=\s)")


def fold(text: str) -> str:
    """NFKC, case and white space folded; the full stop that ends a sentence dropped."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    folded = " ".join(unicodedata.normalize("NFKC", folded).split())  # folding case can undo NFKC
    return folded.rstrip(".,;:! ") or folded


def gold_text(answer: str) -> str:
    """A gold answer folded. Raises BadGold where nothing is left."""
    if not fold(answer):
        raise BadGold("is empty")
    return fold(answer)


def stated_texts(text: str) -> list[Stated]:
    """What every anchor states: a box its content, `####` its line, "answer is" the rest of its sentence."""
    found = [_stated(text, anchor) for anchor in find_anchors(text)]
    # "The answer is \\boxed{x}" and "Answer: #### x" are one statement, which the second anchor reads.
    return [s for s in found if not (s.rule == Rule.ANSWER_IS and s.text.startswith(("####", "$\\boxed")))]


def verify_exact(text: str, answer: str) -> Verdict:
    """Every anchor must state the same text."""
    gold = gold_text(answer)
    stated = stated_texts(text)
    if not stated:
        return no_answer(VerdictCode.UNPARSED, "no_anchor")
    if not all(one.text for one in stated):
        return no_answer(VerdictCode.UNPARSED, "nothing_stated")
    if len({fold(one.text) for one in stated}) > 1:
        return no_answer(VerdictCode.AMBIGUOUS, "anchors_disagree")
    if retracted_after(text, max(one.span[1] for one in stated)):
        return no_answer(VerdictCode.AMBIGUOUS, "retracted")
    return _compared(stated[0], gold)


def verify_direct_exact(text: str, answer: str) -> Verdict:
    """For a completion that is only the answer: all of it, unless an anchor says where to look."""
    whole = undecorated(text, 0, len(text), "direct")
    if whole.text and fold(whole.text) == gold_text(answer):
        return _compared(whole, gold_text(answer))
    if find_anchors(text):
        return verify_exact(text, answer)
    if not whole.text:
        return no_answer(VerdictCode.UNPARSED, "nothing_stated")
    return _compared(whole, gold_text(answer))


def _compared(stated: Stated, gold: str) -> Verdict:
    code = VerdictCode.CORRECT if fold(stated.text) == gold else VerdictCode.WRONG
    return Verdict(code, stated.text, fold(stated.text), str(stated.rule), stated.span)


def _stated(text: str, anchor: Anchor) -> Stated:
    end = anchor.end
    if anchor.rule is Rule.ANSWER_IS:
        end = _sentence_end(text, anchor.begin, anchor.end)
    return undecorated(text, anchor.begin, end, anchor.rule)


def undecorated(text: str, begin: int, end: int, rule: str) -> Stated:
    """Without quotes, emphasis, boxes and the final full stop around it."""
    opening = _OPENING.match(text, begin, end)
    start = opening.end() if opening else begin
    inner = text[start:end].rstrip(_CLOSING)
    while inner.endswith("}") and inner.count("}") > inner.count("{"):
        inner = inner[:-1].rstrip(_CLOSING)
    return Stated(inner, start, rule)


def _sentence_end(text: str, begin: int, end: int) -> int:
    for mark in _SENTENCE_END.finditer(text, begin, end):
        word = re.search(r"\w*$", text[max(begin, mark.start() - 8) : mark.start()])
        last = word[0] if word else ""
        if mark[0] != "." or not ((len(last) == 1 and last.isalpha()) or last.lower() in _ABBREVIATIONS):
            return mark.start()
    return end


class ExactOptions(Section):
    """None."""


class Exact:
    """A short text, the same but for its case and white space."""

    kind = "exact"
    options: type[Section] = ExactOptions
    required_option: str | None = None
    layout = QUESTION_AND_ANSWER
    hint_forms: tuple[HintForm, ...] = ANY_KIND
    takes_choices = False
    solution_mark: str | None = "####"
    slow_gold = False
    closed_answers = False
    how_to_write = '"Q: question" and on the next line "A: rationale #### answer"'
    how_to_end = 'End it with "#### answer" or "The answer is answer."'

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
        gold_text(example.answer)
        check_against_itself(self, example, options, behind_hashes(example))

    def canonical_gold(self, example: Asked) -> str:
        return gold_text(example.answer)

    def any_gold(self, example: Example) -> Example:
        return replace(example, answer="0")

    def other_gold(self, example: Example) -> Example:
        return replace(example, answer=f"other than {example.answer}")

    def guess_chance(self, example: Asked) -> float | None:
        return None

    def grade(self, example: Asked, text: str, options: TaskOptions) -> Verdict:
        return verify_exact(text, example.answer)

    def grade_direct(self, example: Asked, text: str, options: TaskOptions) -> Verdict:
        return verify_direct_exact(text, example.answer)

    def is_answer(self, example: Asked, text: str) -> bool:
        return grade(self, example, text, direct=True).is_correct

    def asserted_at(self, example: Asked, text: str) -> int | None:
        return stated_in_first_sentence(self, example, text)

    def second_opinion(self, example: Asked, text: str) -> bool | None:
        return ends_with(text, example.answer)
