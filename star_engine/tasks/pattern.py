"""A user's own regular expression, run by RE2 in linear time: no pattern and no text can stall a worker."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import re2  # type: ignore[import-untyped]
from pydantic import Field, field_validator

from star_engine.section import Section
from star_engine.tasks.exact import Exact, exact_form, gold_text, takes_back_text
from star_engine.tasks.examples import Asked, Example
from star_engine.tasks.grading import check_against_itself
from star_engine.tasks.hints import ANY_KIND, HintForm
from star_engine.tasks.layout import QUESTION_AND_ANSWER, answer_in_parentheses, ask_question
from star_engine.tasks.reading.correction import is_superseded
from star_engine.tasks.reading.final_text import FinalText, read_final_text
from star_engine.tasks.reading.numbers.number import read_number
from star_engine.tasks.reading.numbers.number_value import Number
from star_engine.tasks.reading.phrases import words
from star_engine.tasks.reading.sentences import split_sentences
from star_engine.tasks.task import TaskOptions
from star_engine.tasks.verdict import Verdict, VerdictCode, no_answer

MAX_PATTERN_CHARACTERS = 1000
_REACH = 400  # characters of a sentence in front of a match that are looked at
_MEMORY = 8 << 20  # bytes for a compiled pattern; RE2's own default, which refuses ((a{1000}){1000})
_DENIED = re.compile(
    r"(?:\b(?:not|never|wrong|incorrect|mistake\w*|false|instead\s+of|rather\s+than|nicht|pas)\b|n['’]t\b)"
    r"(?:(?!\bbut\b)[^,;\n])*$",
    re.IGNORECASE,
)
_CONCLUDES = re.compile(words("so, therefore, thus, hence, final(ly)?, answer, result"), re.IGNORECASE)
_EXAMPLE = r"'Final answer: (\w+)'"


def compile_pattern(pattern: str | None) -> Any:
    """The compiled pattern. Raises ValueError, with the fix, for one that cannot be used."""
    if not pattern:
        raise ValueError(f"the kind pattern needs the option pattern, a regular expression like {_EXAMPLE}")
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        raise ValueError(f"the pattern has {len(pattern)} characters; use at most {MAX_PATTERN_CHARACTERS}")
    return _compile(pattern)


@lru_cache(maxsize=256)
def _compile(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    try:
        compiled = re2.compile(pattern, options)
    except (re2.error, UnicodeEncodeError) as problem:
        reason = problem.args[0] if isinstance(problem, re2.error) else "half a character"
        reason = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(
            f"the pattern {pattern!r} is refused by RE2 ({reason}): RE2 runs in linear time and has no "
            "look-ahead, look-behind or back-references; put the answer into one group and what stands "
            f"around it outside, like {_EXAMPLE}"
        ) from None
    if compiled.groups > 1 and "answer" not in compiled.groupindex:
        raise ValueError(
            f"the pattern {pattern!r} has {compiled.groups} groups; name the one that holds the answer "
            "(?P<answer>...), or write the others as (?:...)"
        )
    if compiled.search("") is not None:
        raise ValueError(f"the pattern {pattern!r} matches an empty text; require at least one character")
    return compiled


@dataclass(frozen=True, slots=True)
class _Found:
    """What the pattern found. Offsets are those of the text as given."""

    text: str
    start: int
    end: int
    whole_start: int  # of the whole match
    is_whole: bool  # False where it is only a part of what stands there: the 42 of 42.5


def verify_pattern(text: str, answer: str, pattern: str | None = None) -> Verdict:
    """The last match decides: group `answer`, else the only group, else the whole match.

    Earlier matches must agree with it, unless the text between takes them back. A match that ends inside a
    word or a number is no answer: `(\\w+)` finds the 42 of 42.5, and nobody answered 42.
    """
    gold = gold_text(answer)
    compile_pattern(pattern)
    final = read_final_text(text)
    if final is None:
        return no_answer(VerdictCode.UNPARSED, "thinking_not_closed")
    found = _matches(text, final, pattern)
    if not found:
        return no_answer(VerdictCode.UNPARSED, "no_match")
    last = found[-1]
    sentences = split_sentences(text)
    begin, _ = sentences.around(last.whole_start, last.whole_start)
    if _DENIED.search(text, max(begin, last.whole_start - _REACH), last.whole_start):
        return no_answer(VerdictCode.UNPARSED, "denied")
    others = [one for one in found if exact_form(one.text) != exact_form(last.text)]
    # What takes the last of them back stands behind all the others, too.
    between = (others[-1].end, last.whole_start) if others else (0, 0)
    if others and not (is_superseded(text, *between) or _CONCLUDES.search(text, *between)):
        return no_answer(VerdictCode.AMBIGUOUS, "matches_disagree")
    if not last.is_whole:
        return no_answer(VerdictCode.UNPARSED, "part_of_a_longer_answer")
    if takes_back_text(text, sentences, (last.end, final.part[1]), last.text):
        return no_answer(VerdictCode.AMBIGUOUS, "retracted")
    return _compared(last, gold, "pattern")


def verify_direct_pattern(text: str, answer: str, pattern: str | None = None) -> Verdict:
    """Verify a completion that is only the answer: all of it, unless the pattern finds an answer in it."""
    compile_pattern(pattern)
    final = read_final_text(text)
    if final is None or _matches(text, final, pattern):
        return verify_pattern(text, answer, pattern)
    gold = gold_text(answer)
    start = len(text) - len(text.lstrip())
    stop = len(text.rstrip())
    if start >= stop:
        return no_answer(VerdictCode.UNPARSED, "nothing_stated")
    return _compared(_Found(text[start:stop], start, stop, start, True), gold, "direct")


def _matches(text: str, final: FinalText, pattern: str | None) -> list[_Found]:
    """In the text as written; where it holds none, in the text without Markdown: "**Final answer:** 42"."""
    begin, end = final.part
    found = list(_found_in(text[begin:end], pattern))
    if found:
        return [
            _Found(one.text, one.start + begin, one.end + begin, one.whole_start + begin, one.is_whole)
            for one in found
        ]
    undressed = []
    for one in _found_in(final.text, pattern):
        start, stop = final.plain.original(one.start, one.end)
        whole, _ = final.plain.original(one.whole_start, one.end)
        undressed.append(_Found(text[start:stop], start, stop, whole, one.is_whole))
    return undressed


def _found_in(text: str, pattern: str | None) -> Iterator[_Found]:
    compiled = compile_pattern(pattern)
    group = compiled.groupindex.get("answer", compiled.groups)
    # RE2 reads UTF-8, which has no half characters; the replacement keeps every offset.
    whole = "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)
    for match in compiled.finditer(whole):
        start, end = match.span(group)
        if start < end:
            # Where the pattern says what stands behind the answer, the answer ends where it says.
            is_whole = match.end() > end or _ends_there(text, start, end)
            yield _Found(
                text[start:end], start, end, match.start(), is_whole and not _begins_earlier(text, start)
            )


def _ends_there(text: str, start: int, end: int) -> bool:
    """Whether an answer that stops at `end` has not merely been cut there."""
    if re.match(r"\w|[-.,:/'’^*+][^\W_]|[%°²³]|\.?\d", text[end : end + 2]) and re.match(
        r"\w", text[end - 1]
    ):
        return False
    if text[end - 1].isdigit() and text[end : end + 1] == "!":
        return False
    behind = text[end : end + 40].split("\n", 1)[0].replace("**", "")
    number = read_number(text, start, end)
    if isinstance(number, Number):
        longer = read_number(text, start, end + len(behind))
        return isinstance(longer, Number) and longer.equals(number)
    return not (text[start].isupper() and re.match(r"[ \t]+[A-Z][a-z]", behind))  # "New York"


def _begins_earlier(text: str, start: int) -> bool:
    """Whether a sign or digits stand right before a number: the 42 of -42."""
    return (
        text[start].isdigit()
        and re.search(r"(?:^|[^\w)])[-−]$|\d[.,]?$", text[max(0, start - 2) : start]) is not None
    )


def _compared(found: _Found, gold: str, rule: str) -> Verdict:
    canonical = exact_form(found.text)
    code = VerdictCode.CORRECT if canonical == gold else VerdictCode.WRONG
    return Verdict(code, found.text, canonical, rule, (found.start, found.end))


class PatternOptions(Section):
    pattern: str | None = Field(
        default=None,
        description=f"A regular expression like {_EXAMPLE}, run by RE2; its group is the answer.",
    )

    @field_validator("pattern")
    @classmethod
    def _accepted_by_re2(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            compile_pattern(pattern)  # ValueError with the fix
        return pattern


class Pattern:
    """What the job's own regular expression finds. Until there is a job, a gold is only a text."""

    kind = "pattern"
    options: type[Section] = PatternOptions
    required_option: str | None = "pattern"
    layout = QUESTION_AND_ANSWER
    hint_forms: tuple[HintForm, ...] = ANY_KIND
    takes_choices = False
    solution_mark: str | None = "####"
    slow_gold = False
    closed_answers = False
    runs_programs = False
    needs_sandbox = False
    answer_shapes: tuple[str, ...] | None = None
    how_to_write = 'a JSON object {"question", "rationale", "answer"}'
    how_to_end = "End it with the answer where config.verifier.pattern finds it"

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
        """Only its author knows what text a pattern finds, so no text is made to state the answer."""
        gold_text(example.answer)
        if options:
            check_against_itself(self, example, options)

    def canonical_gold(self, example: Asked) -> str:
        return gold_text(example.answer)

    def any_gold(self, example: Example) -> Example:
        return replace(example, answer="0")

    def other_gold(self, example: Example) -> Example:
        return replace(example, answer=f"other than {example.answer}")

    def guess_chance(self, example: Asked) -> float | None:
        return None

    def grade(self, example: Asked, text: str, options: TaskOptions) -> Verdict:
        return verify_pattern(text, example.answer, **options)

    def grade_direct(self, example: Asked, text: str, options: TaskOptions) -> Verdict:
        return verify_direct_pattern(text, example.answer, **options)

    def is_answer(self, example: Asked, text: str) -> bool:
        return Exact().is_answer(example, text)

    def asserted_at(self, example: Asked, text: str) -> int | None:
        return Exact().asserted_at(example, text)

    def second_opinion(self, example: Asked, text: str) -> bool | None:
        return None
