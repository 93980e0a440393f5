"""Whether a text later takes back the answer that it has stated: "The answer is 42. No, wait, it is 44."

A marker such as "wait" alone says nothing: "Wait, let me verify: 6 * 7 = 42. Yes." keeps its answer. What
decides is whether another value follows, and that is asked of the kind of question.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum

from star_engine.tasks.reading.phrases import any_of, words
from star_engine.tasks.reading.sentences import Sentences


class Says(Enum):
    """What one sentence says about the answer."""

    NOTHING = 0
    SAME = 1
    OTHER = 2


Judge = Callable[[int, int], Says]

_WRONG = r"(?:(?:clearly|obviously|actually)\s+)?" + any_of(
    "wrong, incorrect, not right, not correct, a mistake, mistaken, false"
)
_RETRACTED = re.compile(
    words(
        r"""(that|this|it|which|my answer|the answer( above)?)('s| is| was| seems) WRONG
        (that|this|it) (can'?t|cannot|can not) be (right|correct)
        i('ve| have)? (made|had made) an? (\w+ )?(mistake|error)
        i (was|am) (wrong|mistaken|not (sure|certain))
        i'm not (\w+ )?(sure|certain|confident), scratch that, i take that back, just kidding
        (that|this|it|which) (contradicts|(doesn'?t|does not) (match|make sense|work|add up|fit)|seems off)
        need to (recheck|redo|reconsider|recalculate|re-?examine|start over)
        let me (correct|fix), not quite right, (could|may|might) be (wrong|mistaken|off)"""
    ).replace("WRONG", _WRONG),
    re.IGNORECASE,
)
_HEAD = r"^[\W_]*(?:(?:p\.?\s?s\.?|oh|and|so|well|yes|ah|um|hm+|okay|ok)\b[\s,.…-]*)*"
# Whoever writes these takes something back, whatever follows.
_STRONG = re.compile(
    _HEAD
    + any_of(
        r"""nope, make (that|it)\b, i mean, correction\b, my mistake, my bad, (my )?apologi\w+
        i apologi[sz]e, oops
        sorry\b(?! for (the|any|such|this)( \w+)? (long|length|delay|inconvenience)), whoops
        (up)?on (second thought|(closer |further )?(re-?)?(review|reflection|examination|inspection|reading))
        (up)?on (closer |further )?(consideration|checking)
        i (misread|mis-?read|forgot|overlooked|meant|miscounted|miscalculated), (edit|update)\s*:"""
    )[:-1]
    + r"|no\b(?=\s*[,.:;!—–-]|\s+wait)|wait,?\s+no\b)",
    re.IGNORECASE,
)
# These may be harmless: it depends on what the sentence, or the next one, comes to.
_SOFT = re.compile(
    _HEAD
    + any_of(
        r"""wait, hold on, actually, however, but, hm+, hang on, though, yet, instead(?! of)
        rather(?! than), alternatively
        on the other hand, in fact, strictly speaking, more precisely, to be (more )?(precise|exact)
        still, nevertheless
        (let me|let's|i should)( just)? (re|correct|fix|double|check|verify|try)
        re-?(check|calculat|comput|count|read|examin|consider)\w*, double-?check, except\b, maybe
        perhaps, or\b
        remember, don'?t forget, we (forgot|must|should|still|need)"""
    )
    + r"|[,;.…—–-]\s*"
    + any_of("but, however, or (maybe|perhaps|rather), wait, actually, though, yet, except")
    + r"\b|"
    + words("(we|i) (forgot|should have|missed), should( actually| instead)? be, just to (correct|clarify)"),
    re.IGNORECASE,
)
_CONCLUDES = re.compile(
    _HEAD
    + any_of(
        r"""therefore, thus, hence, then, after, adding, subtracting, including
        in total, altogether, finally
        the (correct|real|actual|true|final|right)\b
        it('s| is) [$€£]?\d"""
    )
    + r"|^[\W_]*so\b|[,;]\s*"
    + any_of("so, therefore, thus, which (means|leaves|makes|gives), leaving, making")
    + r"\b|"
    + words(
        """(it|answer|total|result) (should|must|would) be, becomes, comes to
        the (correct|real|actual|true|right) (answer|total|result|value|one|number|amount)"""
    ),
    re.IGNORECASE,
)
# With another value: that there is more than one answer, or that this one replaces the first.
_ALTERNATIVE = re.compile(
    words(
        """(might|may|could)( also)? be, also (possible|correct|right|works?|acceptable), (is|are) possible
        would( also)? (work|do|fit|be (fine|ok|okay|acceptable|right|correct))
        works? (too|as well), another( possible)? answer, just as good
        possibly, perhaps, maybe, alternatively, then again, rather(?! than), nein, non"""
    )
    + "|"
    + _HEAD
    + r"(?:better\s*:|\(?or\b|(?:(?:actually|no)\b[\s,.]*)*it(?:['’]s|\s+is)\s+\(?(?-i:[A-Z])\b)",
    re.IGNORECASE,
)
_CONFIRMS = re.compile(
    words(
        """correct, match(es)?, confirm(s|ed)?, verified, verifies, checks? out, consistent
        as expected, the same
        agrees?, yes, which (is|was) (what|the (original|given|initial|starting))"""
    )
    + "|[✓✔✅]",
    re.IGNORECASE,
)
_DENIES = re.compile(
    words("not, no, never, cannot, wrong, incorrect, isn, doesn, mistake, error, false, unlikely, instead")
    + r"|n['’]t\b",
    re.IGNORECASE,
)
_POLITE = re.compile(
    r"^[\W_]*"
    + any_of(
        r"""let me know, i hope, hope\b, feel free, if you('d| have| need| want| would| like)
        is there anything, i can (also|show|explain|help|walk|provide)
        happy to, i'(m|d be) happy, (please|do) (let|you|ask|tell), thank, good luck, would you like, want me
        you're welcome, have a\b, enjoy, have fun, any (other|more) questions"""
    )
    + r"|\bhope\s+(?:this|that|it)\s+(?:helps|is\s+correct)",
    re.IGNORECASE,
)
_UNFINISHED = re.compile(words("let me, let's, i should, we need, we should"), re.IGNORECASE)
_SUPPOSES = re.compile(
    r"^[\W_]*(?:(?:however|but|note|note\s+that|also|of\s+course)\b[\W_]*)*(?:if|suppose|had|unless)\b|"
    + words("would have, if you (got|get|chose|forgot), common mistake"),
    re.IGNORECASE,
)
# "If the tip were included, it would be 48" is another case; "but if you count the last day, it is 7" is not.
_WOULD = re.compile(words("would, were"), re.IGNORECASE)
# Between two statements: that the second one replaces the first.
_SUPERSEDES = re.compile(
    words(
        r"""wait, hold on, actually, however, but, no, hm+, oops, sorry, correction, mistake, wrong, incorrect
        instead, apologi\w+, re-?(check|calculat|count|read|examin|consider|do|think)\w*, double-?check\w*
        on (second thought|reflection|review), upon \w+, forgot, misread, not"""
    )
    + r"|\b(?:let\s+me|let['’]s)\s+(?:re|correct|fix|try|check)|n['’]t\b",
    re.IGNORECASE,
)


def is_polite(sentence: str) -> bool:
    """Whether a sentence only closes a chat: "Let me know if you have more questions!"."""
    return _POLITE.search(sentence) is not None or not re.search(r"\w", sentence)


def is_superseded(text: str, begin: int, end: int) -> bool:
    """Whether what stands between two statements says that the first one no longer holds."""
    return _SUPERSEDES.search(text, begin, end) is not None


def offers_another(sentence: str) -> bool:
    """Whether a sentence names what is in it as another possible answer."""
    return _ALTERNATIVE.search(sentence) is not None


def opens_correction(sentence: str) -> bool:
    """Whether a sentence begins to take something back."""
    return any(marker.search(sentence) for marker in (_RETRACTED, _STRONG, _SOFT))


def is_corrected(text: str, sentences: Sentences, position: int, end: int, judge: Judge) -> bool:
    """Whether text[position:end], which follows a stated answer, takes it back or states another one.

    `judge` says of a sentence whether its result is the same answer, another one, or none at all.
    """
    doubt = threat = False
    behind = [(begin, min(stop, end)) for begin, stop in sentences.behind(position) if begin < end]
    for number, (begin, stop) in enumerate(behind):
        sentence = text[begin:stop]
        if is_polite(sentence):
            continue
        supposes = _SUPPOSES.search(sentence) is not None
        if not supposes and _RETRACTED.search(sentence):
            return True
        said, strong = judge(begin, stop), _STRONG.search(sentence) is not None
        soft = _SOFT.search(sentence) is not None and not (supposes and _WOULD.search(sentence))
        confirms = _CONFIRMS.search(sentence) is not None and not _DENIES.search(sentence)
        denies_same = said is Says.SAME and (soft or strong) and _DENIES.search(sentence)
        if said is Says.SAME and not denies_same:
            doubt = threat = False
            continue
        doubt |= strong or soft
        if (
            (said is Says.OTHER and not supposes and offers_another(sentence))
            or denies_same
            or (strong and not confirms)
        ):
            threat = True
        elif said is Says.OTHER and not confirms and not (supposes and not doubt):
            about_wrong = _DENIES.search(sentence) and not doubt and not _CONCLUDES.search(sentence)
            threat |= not about_wrong and (doubt or _CONCLUDES.search(sentence) is not None)
        elif confirms:
            doubt = threat = False
        elif soft and number == len(behind) - 1 and _is_unfinished(sentence):
            threat = True
    return threat


def _is_unfinished(sentence: str) -> bool:
    return not sentence.rstrip().endswith((".", "!", ")", "✓")) or _UNFINISHED.search(sentence) is not None
