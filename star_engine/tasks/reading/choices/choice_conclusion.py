"""Reads the choice that a last sentence settles on where nothing says "the answer": "That leaves the fan."

Only the clause that settles is read, so that the excluded choices before it do no harm: "It is neither A nor
B, so C it is." It must name one choice, and nothing may exclude, suppose or compare.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from star_engine.tasks.reading.choices.choice_marks import MarkedText
from star_engine.tasks.reading.choices.choice_options import Mark
from star_engine.tasks.reading.phrases import any_of, words

Span = tuple[int, int]

_ASSENT = frozenset({"yes", "no", "true", "false", "none"})
# Behind these a choice stands alone: "which leaves us with only C".
_LEAVES = re.compile(
    r"\b(?:leaves|leaving|left)\s+(?:(?:us|me|you|with|only|just|option|choice|behind)\s+)*", re.IGNORECASE
)
_SO = re.compile(
    r"[,;—–]\s*(?:and\s+)?(?:so|therefore|thus|hence)\b,?\s+|(?:→|⇒|[=-]>)\s*|\b(?:conclusion|verdict|result)\s*:\s+",
    re.IGNORECASE,
)
_OPENS = re.compile(
    r"(?:[\s*_=>→⇒∴✅✓]|\b"
    + any_of(
        """so, therefore, thus, hence, consequently, by elimination, by process of elimination, finally
        clearly, definitely, certainly, obviously, in conclusion, overall, then, it, it's, it is, that's
        that is, this is, must be, must therefore be, has to be, is, be, only, also, daher, somit, donc
        (i|we|you)('d| would| will|'ll)? (therefore |thus )?(choose|pick|select|go with|go for|opt for)
        (i|we|you)('d| would| will|'ll)? (therefore |thus )?(need|use|take)"""
    )
    + r"\b[\s,:]*)*",
    re.IGNORECASE,
)
_FROM_ALL = re.compile(
    r"\s*(?:out\s+)?(?:of|from|among)\s+(?:all\s+)?(?:the|these|those)?\s*(?:\w+\s+)?(?:options|choices|answers)[^,\n]*,",
    re.IGNORECASE,
)
_ENDS = re.compile(r"[\s*_`\"'”’)\].!。]*$")
_SETTLED = re.compile(
    r"[\s*_`\"'”’)]*(?:"
    + any_of(
        r"""it is, makes?( the)?( most| more| best)? sense, fits?( best| the best)?, works?( best)?
        remains?, is left, is the (best|right|correct|only|most \w+)( \w+)?, is (correct|right|best)
        is what (you|we|one|they) (needs?|wants?)"""
    )
    + r")\b",
    re.IGNORECASE,
)
_BECAUSE = re.compile(r",?\s+(?:because|since|as|for|which|so\s+that|[-–—])\s", re.IGNORECASE)
# Behind "C) an umbrella - ": a reason, not the "no" of a list that is gone through.
_EXPLAINS = re.compile(r"(?!(?:no|yes|wrong|incorrect|not|too|does|is)\b)\w+(?:\W+\w+){2}", re.IGNORECASE)
_COPULA = re.compile(
    r"\b(?:is|are|be|would\s+be)\s+(?:(?:an?|the|simply|therefore)\s+)*[\"'“(*]*$", re.IGNORECASE
)
_BARE = re.compile(r"(?<![\w'’.])([A-Z])(?![\w'’+#*-])")
_BARE_BEFORE = re.compile(r"\b([A-Z])[).:]\s+(?:(?:an?|the)\s+)?$")
_UNSETTLED = re.compile(
    words(
        r"""not, cannot, never, neither, nor, none, except, unlike, incorrect, wrong, rather than, other than
        instead, false, least, worst, opposite, unlikely, could, might, may, if, unless, whether, maybe
        perhaps, possibly, probably, or, either, both, between, second, seems?, appears?, tempting, some, many
        people, usually, often, sometimes, first, good, consider, let'?s, look at, what about
        too, similar, like"""
    )
    + r"|n['’]t\b|\?",
    re.IGNORECASE,
)
_CONCLUDES = re.compile(
    r"[\W_]*(?:so|therefore|thus|hence|consequently|overall|in\s+conclusion)\b", re.IGNORECASE
)
_ARGUES = re.compile(r"[\W_]*(?:when|whenever|since|because|as)\b[^.\n]{5,200},\s", re.IGNORECASE)
_BEST = re.compile(
    r"[\s*_\"'”’]*(?:is|are|would\s+be|must\s+be)\s+(?:therefore\s+)?the\s+(?:best|only|correct|right|logical"
    r"|(?:most|more)\s+(?:likely|logical|plausible|appropriate|suitable|reasonable|sensible|probable|common))\b",
    re.IGNORECASE,
)
_ASSENTS = re.compile(
    r"(?:(?<=[.!?]\s)|(?<=\n)|^)(yes|no)\s*[,.!:—–](?=\s+(?!wait|hold|sorry|doubt)\w)", re.IGNORECASE
)
_TAKES_BACK = re.compile(
    words("but, however, although, unless, if, wait, actually, or, might, maybe"), re.IGNORECASE
)
_LEFT_OUT = re.compile(
    words(
        r"""avoid\w*, leav\w+, away from, rul(e|es|ed|ing) out, exclud\w*, eliminat\w*, reject\w*, dismiss\w*
        than, without, before, after, unless, fails?, lacks?, no, nobody, told, thinks?, says?, said
        ask\w*, wonder\w*
        was, were, answer, anything but, next to, contrary, against, confus\w*, mistak\w*, question, given"""
    ),
    re.IGNORECASE,
)
_TICK = re.compile(r"[✓✔✅☑]")
_CROSS = re.compile(r"[✗✘❌✖☒]")


def settled_choice(marked: MarkedText, begin: int, end: int) -> Mark | None:
    """The choice that the sentence text[begin:end] settles on. Raises LettersDisagree where it names two."""
    text = marked.text
    starts = [found.end() for pattern in (_SO, _LEAVES) for found in pattern.finditer(text, begin, end)]
    for start in sorted(starts, reverse=True):
        if mark := _alone_or_preferred(marked, start, end, led_to=True):
            return mark
    if all_of := _FROM_ALL.match(text, begin, end):
        begin = all_of.end()
    return (
        _alone_or_preferred(marked, begin, end)
        or _said_at_the_end(marked, begin, end)
        or _named_in_conclusion(marked, begin, end)
        or _assented(marked, begin, end)
    )


def ticked_choice(marked: MarkedText, lines: Sequence[tuple[Span, Mark | None]]) -> Mark | None:
    """The only choice with a tick in a list of at least two that the text ends with."""
    ticked: list[Mark] = []
    listed = 0
    for (begin, end), mark in reversed(lines):
        if mark is None:
            break
        listed += 1
        crossed = _CROSS.search(marked.text, begin, end) is not None
        if _TICK.search(marked.text, begin, end) and not crossed:
            ticked.append(mark)
    return ticked[0] if listed >= 2 and len({mark.label for mark in ticked}) == 1 else None


def _alone_or_preferred(marked: MarkedText, begin: int, end: int, *, led_to: bool = False) -> Mark | None:
    """A choice that is all of a clause that settles (`led_to`, or by its opening), or that "makes sense"."""
    text = marked.text
    opened = _OPENS.match(text, begin, end)
    start = opened.end() if opened else begin
    mark = marked.stated(start, end) or _preferred(marked, start, end)
    if mark is None:
        return None
    beside = marked.beside(mark.end, end)
    behind = beside.end if beside is not None and beside.label == mark.label else mark.end
    reason = _BECAUSE.search(text, behind, end)
    stop = reason.start() if reason else end
    if _UNSETTLED.search(_without(text, marked, begin, stop)):
        return None
    settled = _SETTLED.match(text, behind, stop)
    explained = beside is not None and reason is not None and _EXPLAINS.match(text, reason.end(), end)
    settles = led_to or explained or start > begin
    return mark if settled or (settles and _ENDS.match(text, behind, stop)) else None


def _said_at_the_end(marked: MarkedText, begin: int, end: int) -> Mark | None:
    """ "The thing that keeps off rain is an umbrella." """
    text = marked.text
    named = marked.mentioned(begin, end)
    if len({mark.label for mark in named}) != 1 or any(marked.anywhere(begin, end)):
        return None
    mark = max(named, key=lambda one: one.end)
    letter = _BARE_BEFORE.search(text, begin, mark.start)  # "the best fit is C) a ladder"
    said = letter.start() if letter else mark.start
    if not _ENDS.match(text, mark.end, end) or not _COPULA.search(text, begin, said):
        return None
    if letter and marked.options.label(letter[1]) != mark.label:
        return None
    says_little = text[mark.start : mark.end].casefold() in _ASSENT or mark.end - mark.start < 3
    return None if says_little or _UNSETTLED.search(_without(text, marked, begin, end)) else mark


def _named_in_conclusion(marked: MarkedText, begin: int, end: int) -> Mark | None:
    """ "So the heat is transferred by conduction.": the only choice that the text names, and its last word.

    Or "Therefore, among all the choices, the pet shop is the most likely place".
    """
    text = marked.text
    named = [one for one in marked.mentions if begin <= one.start and one.end <= end]
    if (
        len({one.label for one in marked.mentioned(begin, end)}) != 1
        or not named
        or any(marked.anywhere(begin, end))
    ):
        return None
    mark = named[-1]
    is_assent = text[mark.start : mark.end].casefold() in _ASSENT
    if (
        is_assent
        or _UNSETTLED.search(_without(text, marked, begin, end))
        or _LEFT_OUT.search(text, begin, end)
    ):
        return None
    if _CONCLUDES.match(text, begin, end) and _BEST.match(text, mark.end, end):
        return mark
    if not _ENDS.match(text, mark.end, end):
        return None
    alone = {one.label for one in marked.mentioned(0, end)} == {mark.label}
    return mark if _CONCLUDES.match(text, begin, end) or (alone and _ARGUES.match(text, begin, end)) else None


def _assented(marked: MarkedText, begin: int, end: int) -> Mark | None:
    """ "No, a penguin cannot fly.", where yes and no are choices and no other sentence begins so."""
    labels = {word: marked.options.label_of_text(word) for word in ("yes", "no")}
    said = list(_ASSENTS.finditer(marked.text, 0, end))
    if None in labels.values() or not said or said[-1].start() != begin:
        return None
    label = labels[said[-1][1].lower()]
    if (
        label is None
        or len({one[1].lower() for one in said}) > 1
        or _TAKES_BACK.search(marked.text, said[-1].end(), end)
    ):
        return None
    return Mark(label, *said[-1].span(1))


def _preferred(marked: MarkedText, start: int, end: int) -> Mark | None:
    """The C of "C remains", the umbrella of "an umbrella it is"."""
    found = _BARE.match(marked.text, start, end)
    label = marked.options.label(found[1]) if found else None
    mark = marked.named_at(start, end) or (Mark(label, *found.span(1)) if found and label else None)
    return mark if mark and _SETTLED.match(marked.text, mark.end, end) else None


def _without(text: str, marked: MarkedText, begin: int, end: int) -> str:
    """text[begin:end] without the choices' own words: "second hand" is no second choice."""
    kept, position = [], begin
    for mention in marked.mentions:
        if begin <= mention.start and mention.end <= end:
            kept.append(text[position : mention.start])
            position = mention.end
    return " ".join([*kept, text[position:end]])
