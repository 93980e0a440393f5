"""Short texts that must be the same; Unicode form, case, white space and a leading article aside."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from star_engine.section import Section
from star_engine.tasks.examples import Asked, Example
from star_engine.tasks.grading import behind_hashes, check_against_itself, grade, stated_in_first_sentence
from star_engine.tasks.hints import ANY_KIND, HintForm
from star_engine.tasks.layout import QUESTION_AND_ANSWER, answer_in_parentheses, ask_question
from star_engine.tasks.reading.correction import Says, is_corrected, offers_another
from star_engine.tasks.reading.dressing import undress
from star_engine.tasks.reading.final_text import FinalText, Stated, read_final_text, values_that_stand, within
from star_engine.tasks.reading.second_opinion import ends_with
from star_engine.tasks.reading.sentences import Sentences
from star_engine.tasks.reading.standing import is_taken_back
from star_engine.tasks.reading.statements import Form, Statement
from star_engine.tasks.task import TaskOptions
from star_engine.tasks.verdict import BadGold, Verdict, VerdictCode, no_answer

Span = tuple[int, int]

MAX_CHARACTERS = 500  # of a statement that is read in more than one way; no short text is longer
MAX_READINGS = 8
_ARTICLE = re.compile(r"(?:the|an?)\s+(?=\S)")
_RAISED = {character: f"^{digit}" for digit, character in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}
_LOWERED = {character: f"_{digit}" for digit, character in enumerate("₀₁₂₃₄₅₆₇₈₉")}
_SCRIPTS = str.maketrans(_RAISED | _LOWERED)
_QUOTES = (('"', '"'), ("'", "'"), ("“", "”"), ("‘", "’"), ("«", "»"), ("„", "“"))
# Where an answer may end before its sentence does: "Paris, the capital", "Yes - it floats", "Paris (France)".
_EARLIER_END = re.compile(
    r",?\s(?:because|since|as\s+(?:it|the|they|he|she)|due\s+to|based\s+on|given\s+that)\b|,\s(?=(?:the|an?|which|who|where|not|so|as|because|since|and\s+(?:not|it|so)|it|this|with|rather|according)\b)"
    r"|\s\(|\s[-–—]+\s|;\s|:\s|[.!](?=\s+(?!\d))|\s[\u2600-\u27bf\U0001f300-\U0001faff]|\s\|",
    re.IGNORECASE,
)
_ADVERB = re.compile(r"(?:thus|therefore|then|hence|clearly|simply|indeed)\s+", re.IGNORECASE)
_ASSENT = frozenset({"yes", "no", "true", "false", "correct", "incorrect"})
_CALLED = re.compile(
    r"\b(?:it|that|this|answer|one)(?:['’]s|\s+is|\s+was|\s+should\s+be|\s+must\s+be|\s+would\s+be)\s+\S",
    re.IGNORECASE,
)

# "Hmm, Milan." and "Wait... Milan."
_JUST_ANOTHER = re.compile(
    r"\W*(?:hm+|wait|no|nein|non|actually|rather|then again)\b[\s,.…:–—-]+(?:\S+\s+){0,3}\S+[.!]?\s*$",
    re.IGNORECASE,
)


def fold(text: str) -> str:
    """NFKC, case and white space folded; the full stop that ends a sentence dropped."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    folded = " ".join(unicodedata.normalize("NFKC", folded).split())  # folding case can undo NFKC
    return folded.rstrip(".,;:! ") or folded


def gold_text(answer: str) -> str:
    """A gold answer in the form that is compared. Raises BadGold where nothing is left."""
    if not fold(answer):
        raise BadGold("is empty")
    return exact_form(undress(answer).text) or exact_form(answer)


def exact_form(text: str) -> str:
    """Folded, without a leading article; raised digits stay apart (10² is not 102), and so does 5!."""
    folded = fold(text.translate(_SCRIPTS))
    if re.search(r"(?:\d|\b[a-z])!$", text.strip().rstrip(".,;: ").casefold()):
        folded += "!"
    return _ARTICLE.sub("", folded, count=1) if _ARTICLE.match(folded) else folded


def verify_exact(text: str, answer: str) -> Verdict:
    """The last statement that stands must be the gold text."""
    gold = gold_text(answer)
    final = read_final_text(text)
    if final is None:
        return no_answer(VerdictCode.UNPARSED, "thinking_not_closed")
    standing = values_that_stand(final, lambda one: _read(final, one, gold))
    if not standing:
        return no_answer(VerdictCode.UNPARSED, "no_anchor")
    stated = standing[-1]
    if len({exact_form(one.value) for one in standing}) > 1:
        return no_answer(VerdictCode.AMBIGUOUS, "anchors_disagree")
    if is_text_corrected(final, stated.value, stated.end):
        return no_answer(VerdictCode.AMBIGUOUS, "retracted")
    return _compared(text, final, (stated.start, stated.end), gold, str(stated.statement.form))


def verify_direct_exact(text: str, answer: str) -> Verdict:
    """Verify a completion that is only the answer: all of it, unless an anchor says where to look."""
    gold = gold_text(answer)
    final = read_final_text(text)
    if final is None:
        return no_answer(VerdictCode.UNPARSED, "thinking_not_closed")
    whole = bare(final.text, 0, final.end)
    if final.statements and exact_form(final.text[slice(*whole)] or " ") != gold:
        return verify_exact(text, answer)
    if whole[0] == whole[1]:
        return no_answer(VerdictCode.UNPARSED, "nothing_stated")
    return _compared(text, final, whole, gold, "direct")


def bare(text: str, begin: int, end: int) -> Span:
    """Without white space, closing punctuation and a pair of quotes around it."""
    while begin < end and text[begin] in " \t\r\n:,*_":
        begin += 1
    changed = True
    while changed and begin < end:
        changed = False
        while end > begin and text[end - 1] in " \t\r\n.,;:":
            end, changed = end - 1, True
        for opening, closing in _QUOTES:
            if end - begin > 1 and text[begin] == opening and text[end - 1] == closing:
                begin, end, changed = begin + 1, end - 1, True
    if end - begin > 2 and text[end - 1] == "!" and text[end - 3 : end - 1].isalpha():
        end -= 1
    return begin, end


def _read(final: FinalText, one: Statement, gold: str) -> Stated[str] | None:
    """The stated text: the gold answer where the statement can be read so, else all that is stated."""
    if one.form in (Form.VALUE_FIRST, Form.CHOSEN):
        return None
    one = within(one, final.end)
    spans = list(_readings(final, one))
    for begin, end in spans:
        if begin < end and exact_form(final.text[begin:end]) == gold:
            spans = [(begin, end)]
            break
    begin, end = spans[0]
    if begin >= end:
        return None
    checked = one.form not in (Form.HASHES, Form.TAG)
    if checked and is_taken_back(
        final.text, final.sentences, max(end, one.end if one.form is Form.BOXED else 0)
    ):
        return None
    return Stated(one, final.text[begin:end], begin, end)


def _readings(final: FinalText, one: Statement) -> Iterator[Span]:
    """All of a box, a tag or a `####` line; of a sentence all, or what stands before a remark."""
    if one.form is not Form.ANSWER_IS:
        yield bare(final.text, one.begin, one.end)
        return
    end = min(one.end, final.sentences.around(one.begin, one.begin)[1])
    yield bare(final.text, one.begin, end)
    yield bare(final.text, one.begin, min(one.end, one.begin + MAX_CHARACTERS))
    if adverb := _ADVERB.match(final.text, one.begin, end):
        yield bare(final.text, adverb.end(), end)
    reach = min(one.end, one.begin + MAX_CHARACTERS)
    for mark in islice(_EARLIER_END.finditer(final.text, one.begin, reach), MAX_READINGS):
        yield bare(final.text, one.begin, mark.start())
    comma = final.text.find(",", one.begin, end)
    if comma > 0 and fold(final.text[one.begin : comma] or "x") in _ASSENT:
        yield bare(final.text, one.begin, comma)


def is_text_corrected(final: FinalText, stated: str, position: int) -> bool:
    """Whether the text behind a stated answer takes it back. Any other text may be another answer."""
    return takes_back_text(final.text, final.sentences, (position, final.end), stated)


def takes_back_text(text: str, sentences: Sentences, behind: Span, stated: str) -> bool:
    """The same of a text without dressing: whether text[behind] takes back or replaces what was stated."""
    same = re.compile(rf"(?<!\w){re.escape(stated.strip())}(?!\w)", re.IGNORECASE)

    def judge(begin: int, end: int) -> Says:
        if same.search(text, begin, end):
            return Says.SAME
        another = offers_another(sentence := text[begin:end]) or _JUST_ANOTHER.match(sentence)
        return Says.OTHER if another or _CALLED.search(sentence) else Says.NOTHING

    return is_corrected(text, sentences, *behind, judge)


def _compared(text: str, final: FinalText, span: Span, gold: str, rule: str) -> Verdict:
    stated = final.text[slice(*span)]
    start, end = final.plain.original(*span)
    canonical = exact_form(stated)
    code = VerdictCode.CORRECT if canonical == gold else VerdictCode.WRONG
    return Verdict(code, text[start:end], canonical, rule, (start, end))


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
    runs_programs = False
    needs_sandbox = False
    answer_shapes: tuple[str, ...] | None = ()
    how_to_write = '"Q: question" and on the next line "A: rationale #### answer"'
    how_to_end = 'End it with "#### answer" or "The answer is answer."'

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
