"""Which statements stand: not one that is denied, supposed, quoted, asked, hedged or ascribed to others."""

from __future__ import annotations

import re

from star_engine.tasks.reading.phrases import any_of, words
from star_engine.tasks.reading.sentences import Sentences
from star_engine.tasks.reading.statements import Form, Statement

_OPENERS = r"(?:\b(?:but|so|and|now|then|however|alternatively|first)\b[,\s]*)*"
# At the head of the sentence these reach over its commas: "If we ignore the tip, the answer is 42."
_SUPPOSED = re.compile(
    rf"[\W_]*{_OPENERS}"
    + any_of(
        """if, unless, suppose, supposing, assume, assuming, imagine, let'?s (say|suppose|assume|pretend)
        let us (say|suppose|assume), had, were, without, ignoring, excluding, before (the|any), is, are, does
        could, would, might, at first, initially, originally, so far, for now, until now, depending
        wenn, falls"""
    )
    + r"\b",
    re.IGNORECASE,
)
# Right before the phrase, in its own clause.
_DOUBTED = re.compile(
    words(
        r"""not, cannot, never, no, neither, nor, hardly, unless, if, whether, doubt\w*, false, untrue, wrong
        incorrect\w*, mistaken\w*, so far, at first, initially, seems?, seemed, appears?, appeared
        looks? (like|as), might, (?-i:may), could, perhaps, maybe, possibly, conceivabl[ey], thought
        guess\w*, wrote
        suppose\w*, assum\w+, pretend\w*, imagine, claim\w*, argu\w+, tempt\w*, wonder\w*, ignoring, without
        (to|must) (show|prove|check|verify|test), (mistake|error|trap) (is|was|would be)
        told, until, before, nicht, pas, kein\w*"""
    )
    + r"|n['’]t\b",
    re.IGNORECASE,
)
# The same before a calculation, which says less: "the pies that are not eaten are 20 - 8 = 12".
_DOUBTED_CALCULATION = re.compile(
    words(
        r"""unless, whether, doubt\w*, false, untrue, mistaken\w*, seems?, seemed, appears?, appeared
        looks? (like|as), might, (?-i:may), maybe, perhaps, possibly, thought, guess\w*
        suppose, supposing, assum\w+, pretend\w*, imagine, claim\w*, argu\w+, tempt\w*, wonder\w*, told
        ignoring, (to|must) (show|prove|check|verify|test), (mistake|error|trap) (is|was|would be)"""
    )
    + r"|(?:\b(?:not|never|cannot|nicht|pas)|n['’]t)\b(?:\s+[^\W\d_]+){0,2}\s*[$€£(]*\d",
    re.IGNORECASE,
)
_OTHERS_SAY = re.compile(
    r"\b(?!(?:I|we|can|to|and|so|also|would|will|thus|therefore)\b)[\w'’]+\s+"
    r"(?:(?:might|may|would|could|will|often|first|just|simply)\s+)*"
    + any_of(
        """says?, said, thinks?, believes?, answers?, answered, expects?, reports?, assumes?, insists?
        concludes?, concluded, responds?, told"""
    )
    + r"\b",
    re.IGNORECASE,
)
_OTHERS_CALCULATE = re.compile(
    r"\b(?!(?:I|we|you|can|to|and|so|also|would|will|thus|therefore)\b)[\w'’]+\s+"
    + any_of("says?, said, thinks?, believes?, assumes?, insists?, concludes?, concluded, told")
    + r"\b",
    re.IGNORECASE,
)
_CLAUSE_START = re.compile(
    r"[,;:]\s|" + words("so, therefore, thus, hence, consequently, but, and so, meaning, means( that)?"),
    re.IGNORECASE,
)
_CONCLUDED = re.compile(
    words("so, therefore, thus, hence, and so, consequently") + r"[,\s]*(?:that\s+)?$", re.IGNORECASE
)
_TAKEN_BACK = re.compile(
    r"\b(?:is|are|was|were|would\s+be)\s+(?:(?:clearly|also|simply|definitely)\s+)?"
    + any_of(
        """not, wrong, incorrect, false, mistaken, impossible, my first, just, but only
        only (for|if|when|the|a)
        what\\b
        too\\b, a (common|typical|tempting|wrong|trap|mistake|distract)"""
    )
    + r"|n['’]t\b|"
    + words(
        """cannot, can not, unless, if, would, maybe, perhaps, possibly, not sure, guess(ing)?, unsure
        uncertain
        uncertainty, provided that, but only, assuming, depending, so far, seems?, might, unlikely
        doubtful"""
    ),
    re.IGNORECASE,
)
_CALCULATION_TAKEN_BACK = re.compile(
    r"\b(?:is|are|was|were|isn['’]t|aren['’]t)\s+(?:clearly\s+|also\s+)?"
    + any_of(
        """not (right|correct|the|what|possible|enough|our|my), (right|correct|the answer|possible)
        wrong, incorrect, false, mistaken, impossible, too\\b
        a (common|typical|tempting|wrong|trap|mistake)"""
    )
    + r"|"
    + words("unless, maybe, perhaps, possibly, not sure, guess(ing)?, unsure, seems?, might, doubtful, if")
    + r"|\?\s*$",
    re.IGNORECASE,
)
_REASON = re.compile(
    words("because, since, as, although, though, even though, while, whereas, given that, due to")
    + r"|\n|,\s+(?:an?|the|it|they|he|she|we)\b",
    re.IGNORECASE,
)
_QUOTES = re.compile(r"[\"“”]")
_REACH = 400  # characters of a sentence that are looked at, so that one endless sentence costs no square


def stands(text: str, sentences: Sentences, one: Statement) -> bool:
    """Whether the sentence around a statement lets it stand."""
    if one.form in (Form.HASHES, Form.TAG):
        return True
    phrase = min(one.start, one.begin)
    begin, _ = sentences.around(phrase, phrase)
    before = text[max(begin, phrase - _REACH) : phrase]
    if one.form is Form.VALUE_FIRST:
        before = text[max(begin, one.start - _REACH) : one.start]
    return not (is_doubted(before) or len(_QUOTES.findall(before)) % 2)


def is_taken_back(text: str, sentences: Sentences, end: int) -> bool:
    """Whether the rest of the sentence behind a stated value denies it or asks: "42 is not the answer"."""
    _, stop = sentences.around(max(0, end - 1), end)
    rest = text[end : min(stop, end + _REACH)]
    if rest.rstrip().endswith("?"):
        return True
    reason = _REASON.search(rest)
    rest = rest[: reason.start()] if reason else rest
    return _TAKEN_BACK.search(rest) is not None


def is_doubted_calculation(before: str) -> bool:
    """Whether what stands before the result of a calculation keeps it from being one."""
    return any(pattern.search(before) for pattern in (_DOUBTED_CALCULATION, _OTHERS_CALCULATE))


def is_calculation_taken_back(text: str, sentences: Sentences, end: int) -> bool:
    """`is_taken_back` of a calculation's result, behind which "not" may be of what was counted."""
    _, stop = sentences.around(max(0, end - 1), end)
    rest = text[end : min(stop, end + _REACH)]
    return _CALCULATION_TAKEN_BACK.search(rest) is not None


def is_doubted(before: str) -> bool:
    """Whether what stands before a statement in its sentence keeps it from being one."""
    if _SUPPOSED.match(before) and not _CONCLUDED.search(before):
        return True
    clause = before
    for start in _CLAUSE_START.finditer(before):
        clause = before[start.end() :]
    return _DOUBTED.search(clause) is not None or _OTHERS_SAY.search(clause) is not None
