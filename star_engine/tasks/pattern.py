"""A user's own regular expression, run by RE2 in linear time: no pattern and no text can stall a worker."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import re2  # type: ignore[import-untyped]

from star_engine.tasks.exact import Stated, fold, gold_text
from star_engine.tasks.verdict import Verdict, VerdictCode, no_answer

MOST_PATTERN_CHARACTERS = 1000
_MEMORY = 8 << 20  # bytes for a compiled pattern; RE2's own default, which refuses ((a{1000}){1000})
_EXAMPLE = r"'Final answer: (\w+)'"


def compile_pattern(pattern: str | None) -> Any:
    """The compiled pattern. Raises ValueError, with the mend, for one that cannot be used."""
    if not pattern:
        raise ValueError(f"the kind pattern needs the option pattern, a regular expression like {_EXAMPLE}")
    if len(pattern) > MOST_PATTERN_CHARACTERS:
        raise ValueError(f"the pattern has {len(pattern)} characters; use at most {MOST_PATTERN_CHARACTERS}")
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


def verify_pattern(text: str, answer: str, pattern: str | None = None) -> Verdict:
    """Every match must hold the same answer: group `answer`, else the only group, else the whole match."""
    gold = gold_text(answer)
    found = _matches(text, pattern)
    if not found:
        return no_answer(VerdictCode.UNPARSED, "no_match")
    if len({fold(one.text) for one in found}) > 1:
        return no_answer(VerdictCode.AMBIGUOUS, "matches_disagree")
    return _compared(found[0], gold)


def verify_direct_pattern(text: str, answer: str, pattern: str | None = None) -> Verdict:
    """For a completion that is only the answer: all of it, unless the pattern finds an answer in it."""
    if _matches(text, pattern):
        return verify_pattern(text, answer, pattern)
    gold = gold_text(answer)
    if not text.strip():
        return no_answer(VerdictCode.UNPARSED, "nothing_stated")
    return _compared(Stated(text.strip(), len(text) - len(text.lstrip()), "direct"), gold)


def _matches(text: str, pattern: str | None) -> list[Stated]:
    compiled = compile_pattern(pattern)
    group = compiled.groupindex.get("answer", compiled.groups)
    # RE2 reads UTF-8, which has no half characters; the replacement keeps every offset.
    whole = "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)
    found = [match for match in compiled.finditer(whole) if match.group(group)]
    return [Stated(text[slice(*match.span(group))], match.start(group), "pattern") for match in found]


def _compared(stated: Stated, gold: str) -> Verdict:
    code = VerdictCode.CORRECT if fold(stated.text) == gold else VerdictCode.WRONG
    return Verdict(code, stated.text, fold(stated.text), stated.rule, stated.span)
