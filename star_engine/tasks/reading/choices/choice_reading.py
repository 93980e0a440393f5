"""Reads which choice a statement names, and which one a text ends with where no phrase says "the answer"."""

from __future__ import annotations

import re

from star_engine.tasks.reading.choices.choice_conclusion import settled_choice, ticked_choice
from star_engine.tasks.reading.choices.choice_marks import ORDINAL, LettersDisagree, MarkedText
from star_engine.tasks.reading.choices.choice_options import Mark, Options
from star_engine.tasks.reading.correction import Says, is_corrected, is_polite, offers_another
from star_engine.tasks.reading.final_text import FinalText, Stated, within
from star_engine.tasks.reading.phrases import words
from star_engine.tasks.reading.standing import is_taken_back
from star_engine.tasks.reading.statements import Form, Statement

Span = tuple[int, int]

MAX_DRESSING = 80  # characters of a line that is a choice and nothing else, besides the choice itself

_LINE = re.compile(r"\S[^\n]*")
_NAMED = r"(?:(?:answer\s+)?(?:option|choice)\s+)?"
_BARE_LETTER = re.compile(rf"[\s*_(\[]*{_NAMED}[(\[]*([A-Za-z])[\s*_).:,\]]*", re.IGNORECASE)
_LETTER_FIRST = re.compile(
    rf"[\s*_]*{_NAMED}[(\[]?([A-Za-z])(?:[).:\]]+[\s*_:–-]*|\s*[–—-]\s+)(?=\S)", re.IGNORECASE
)
_LETTER_LAST = re.compile(r"(.+?)[\s*_]*\(([A-Za-z])\)[\s.]*")
_OPTION = re.compile(r"\b(?:option|choice)\s+([A-Za-z])\b", re.IGNORECASE)
_TEXT_BELOW = re.compile(
    r"[)\]*_]{0,6}:[ \t*_]*\n\s*([^\n]+)"
)  # "the answer is (B):" and its text on a line below
_OPENING = re.compile(
    rf"[\s*_(\[]*{_NAMED}(?P<letter>[A-Z])[)\].:*_]*(?:\s+(?P<because>because|since|as)\b|(?:(?<=[.:)*])|\s*[—–-])\s+)"
)
# A sentence that names a choice to exclude it, to compare it, or to leave it open.
_EXCLUDES = re.compile(
    words(
        r"""not, cannot, never, neither, nor, except, unlike, incorrect, wrong, (rather|other) than, instead
        false, untrue, least, worst, opposite, contrary, rul(e|es|ed|ing) out, exclud\w*, eliminat\w*
        discard\w*, reject\w*, dismiss\w*, unlikely, hardly, barely, tempting, trap, distractor
        mistake\w*, could, might
        may, if, unless, whether, maybe, perhaps, possibly, or, either, both, between, compare\w*
        anything but, far from, second, some would, others?, like, similar, than, without
        avoid\w*, peril, seems?, appears?, looks?, too, fails?, lacks?, all but, out of, so far, thought
        guess\w*, first, initially, weak\w*
        poor\w*, bad, cross\w*, strike\w*, consider\w*, let'?s, let us, what about, look at, examin\w*
        check\w*, discuss\w*, says?, said, claims?, people, often
        usually, sometimes, one of, some, many"""
    )
    + r"|n['’]t\b|\?",
    re.IGNORECASE,
)
_PREFERS = re.compile(
    words(
        """fits?, works?, remains?, makes? (the most |more |most )?sense, matches, correct, right
        is (the )?(correct|right|best|most|only|answer)"""
    ),
    re.IGNORECASE,
)
_SETTLES = re.compile(
    words(
        """so, therefore, thus, hence, consequently, must be, leaves, left, only, it('s| is), which is, best
        (option|choice) is, conclude, remains, remaining"""
    ),
    re.IGNORECASE,
)
_REASON = re.compile(words("because, since, as, for, so that") + r"|[;:]", re.IGNORECASE)
_LINKS = re.compile(r"\b(?:and|a\s+kind)\b", re.IGNORECASE)
_DENIES = re.compile(
    words(
        r"""not, no, never, wrong, incorrect, cannot, unlikely, too(?= \w), isn, doesn, fails?, less
        least, false
        lacks?, only, neither"""
    )
    + r"|n['’]t\b",
    re.IGNORECASE,
)


def read_choice(final: FinalText, marked: MarkedText, one: Statement) -> Stated[Mark] | None:
    """Which choice one statement names; None where it names none, or takes it back at once."""
    one = within(one, final.end)
    if one.form is Form.VALUE_FIRST:
        mark = _named_before(final, marked, one)
    else:
        mark = marked.stated(one.begin, one.end) or _lettered(final, marked, one)
    if mark is None:
        return None
    below = _TEXT_BELOW.match(final.text, mark.end)
    if below and marked.options.label_of_text(below[1].strip(" *_\"'")) not in (None, mark.label):
        raise LettersDisagree("letter_and_text_disagree")
    end = {Form.VALUE_FIRST: one.start, Form.BOXED: one.end}.get(one.form, 0)
    if is_taken_back(final.text, final.sentences, max(mark.end, end)):
        return None
    return Stated(one, mark, mark.start, mark.end)


def _lettered(final: FinalText, marked: MarkedText, one: Statement) -> Mark | None:
    """A letter in parentheses further on in the sentence: "The answer is ink blotter (e)."."""
    stop = min(final.sentences.around(one.begin, one.begin)[1], one.end)
    letters = marked.anywhere(one.begin, stop)
    if not letters:
        return None
    before = final.text[one.begin : letters[0].start]
    if any(pattern.search(before) for pattern in (_EXCLUDES, _LINKS, _REASON)):
        return None
    return marked.only_letter(letters)


def _named_before(final: FinalText, marked: MarkedText, one: Statement) -> Mark | None:
    """The one choice named in front of "is the correct answer"."""
    mark = marked.stated(one.begin, one.end)
    named = {mention.label for mention in marked.mentioned(one.begin, one.end)}
    named |= {letter.label for letter in marked.anywhere(one.begin, one.end)}
    said = ORDINAL.sub(" ", final.text[one.begin : one.end])  # "the second option" excludes nothing
    if mark is None and len(named) == 1 and not _EXCLUDES.search(said):
        letters = marked.anywhere(one.begin, one.end)
        return letters[0] if letters else None
    return mark if mark and named <= {mark.label} else None


def choice_without_statement(final: FinalText, marked: MarkedText) -> Stated[Mark] | None:
    """The first or last line where it is a choice and nothing else, else the letter that ends the text."""
    lines = [line.span() for line in _LINE.finditer(final.text, 0, final.end) if not is_polite(line[0])]
    if not lines:
        return None
    whole = [_line_mark(final, marked, line) for line in lines]
    named = {mark.label for mark in whole if mark}
    for mark, (begin, end) in reversed(list(zip(whole, lines, strict=True))):
        if mark and len(named) == 1 and (mark.end - mark.start == 1 or begin in (lines[0][0], lines[-1][0])):
            return Stated(Statement(Form.ANSWER_IS, begin, begin, end), mark, mark.start, mark.end)
    starts = {mention.start: mention for mention in marked.mentions}
    listed = [(line, _listed(marked, starts, line)) for line in lines]
    mark = ticked_choice(marked, listed) or _settled(final, marked, lines[-1])
    if mark is not None:
        return Stated(
            Statement(Form.VALUE_FIRST, mark.start, mark.start, mark.end), mark, mark.start, mark.end
        )
    return _in_last_sentence(final, marked, lines[-1]) or _in_opening(final, marked, lines)


def _in_opening(final: FinalText, marked: MarkedText, lines: list[Span]) -> Stated[Mark] | None:
    """ "C — market. Vegetables are sold there." and "D because iron is red.": the first words of the text."""
    text, (begin, end) = final.text, lines[0]
    found = _OPENING.match(text, begin, end)
    label = marked.options.label(found["letter"]) if found else None
    if found is None or label is None or any(_LETTER_FIRST.match(text, *line) for line in lines[1:]):
        return None
    beside = marked.named_at(found.end(), end)
    if not found["because"] and (beside is None or beside.label != label):
        return None
    stop = min(final.sentences.around(found.end(), found.end())[1], end)
    if not found["because"] and _EXCLUDES.search(text, beside.end if beside else found.end(), stop):
        return None
    if any(one.label != label for one in marked.mentioned(found.end(), stop)):
        return None  # every option in turn
    mark = Mark(label, *found.span("letter"))
    return Stated(Statement(Form.VALUE_FIRST, mark.start, mark.start, mark.end), mark, mark.start, mark.end)


def _listed(marked: MarkedText, starts: dict[int, Mark], line: Span) -> Mark | None:
    """The choice that a line of a list is about: "B: dries you"."""
    first = _LETTER_FIRST.match(marked.text, *line)
    label = marked.options.label(first[1]) if first else None
    if first and label:
        return Mark(label, *first.span(1))
    return next((starts[at] for at in range(line[0], line[0] + 6) if at in starts), None)


def _settled(final: FinalText, marked: MarkedText, line: Span) -> Mark | None:
    span = _last_sentence(final, marked, line)
    return None if final.rejects(*span) else settled_choice(marked, *span)


def _line_mark(final: FinalText, marked: MarkedText, line: Span) -> Mark | None:
    begin, end = line
    found = whole_line(final.text[begin:end], begin, marked.options)
    if len({mark.label for mark in found}) > 1:
        raise LettersDisagree("letter_and_text_disagree")
    if not found or final.text[begin:end].rstrip().endswith("?"):
        return None
    only_text = found[0].end - found[0].start > 1
    is_bold = any(first <= begin + 2 and end - 2 <= last for first, last in final.plain.bold)
    # A choice's text alone is no statement: "The blotter." may be the subject of what comes next.
    return None if only_text and not is_bold and not final.text[:begin].strip() else found[0]


def _in_last_sentence(final: FinalText, marked: MarkedText, line: Span) -> Stated[Mark] | None:
    """ "Blotters absorb ink (e)." and "Only (b) fits." """
    begin, end = _last_sentence(final, marked, line)
    letters = marked.anywhere(begin, end) or _named_options(final.text, marked, begin, end)
    if not letters or final.rejects(begin, end):
        return None
    mark = marked.only_letter(letters)
    own_words = {position for m in marked.mentions for position in range(m.start, m.end)}
    if any(found.start() not in own_words for found in _EXCLUDES.finditer(final.text, begin, end)):
        return None
    if not _is_preferred(final.text, marked, mark, (begin, end)):
        return None
    return Stated(Statement(Form.VALUE_FIRST, mark.start, begin, end), mark, mark.start, mark.end)


def _is_preferred(text: str, marked: MarkedText, mark: Mark, sentence: Span) -> bool:
    """Whether a sentence settles on the letter in it: it ends there, or says that it fits."""
    begin, end = sentence
    beside = marked.beside(mark.end, end)
    if beside is not None and beside.label != mark.label:
        raise LettersDisagree("letter_and_text_disagree")
    if re.search(r"\w", text[(beside or mark).end : end]):
        return _PREFERS.search(text, mark.end, end) is not None
    named = {mention.label for mention in marked.mentioned(begin, mark.start)} | {
        beside.label if beside else ""
    }
    alone = not re.search(r"\w", text[begin : mark.start])
    return alone or mark.label in named or _SETTLES.search(text, begin, mark.start) is not None


def _last_sentence(final: FinalText, marked: MarkedText, line: Span) -> Span:
    """Of the last line; the period of a choice's own text ("St. Louis") ends none."""
    spans = [
        (begin, end) for begin, end in final.sentences.behind(line[0]) if begin < min(line[1], final.end)
    ]
    spans = [span for span in spans if not is_polite(final.text[slice(*span)])] or [line]
    begin, end = spans[-1]
    if any(mention.start < begin < mention.end for mention in marked.mentions):
        begin = line[0]
    return begin, min(end, final.end)


def _named_options(text: str, marked: MarkedText, begin: int, end: int) -> list[Mark]:
    found = [(marked.options.label(one[1]), one.span(1)) for one in _OPTION.finditer(text, begin, end)]
    return [Mark(label, *span) for label, span in found if label]


# The C of "it's C." and of "C is possible too", not the article of "A fan".
_BARE_LETTER_SAID = re.compile(
    r"(?<![\w'’.])\(?([A-Z])\)?(?=\s*(?:[.,;:!?]|$)|\s+(?:is|was|would|could|may|might|too|works?|also)\b)"
)


def is_choice_corrected(final: FinalText, marked: MarkedText, mark: Mark, position: int) -> bool:
    def judge(begin: int, end: int) -> Says:
        named = {mention.label for mention in marked.mentioned(begin, end)}
        bare = _BARE_LETTER_SAID.finditer(final.text, begin, end)
        named |= {label for found in bare if (label := marked.options.label(found[1]))}
        others = named - {mark.label}
        if others:
            if offers_another(final.text[begin:end]):
                return Says.OTHER
            denied = _DENIES.search(final.text, begin, end) is not None
            return Says.NOTHING if denied and mark.label not in named else Says.OTHER
        return Says.SAME if named else Says.NOTHING

    return is_corrected(final.text, final.sentences, position, final.end, judge)


def whole_line(line: str, begin: int, options: Options) -> list[Mark]:
    """Every reading of a line that is nothing but a choice: its letter, its letter and text, its text."""
    if len(line) > MAX_DRESSING + max(map(len, options.texts)):
        return []
    marks = []
    if (bare := _BARE_LETTER.fullmatch(line)) and (label := options.label(bare[1])):
        marks.append(Mark(label, begin + bare.start(1), begin + bare.end(1)))
    if (first := _LETTER_FIRST.match(line)) and (label := options.label(first[1])):
        of_text = options.label_of_text(line[first.end() :].strip(" *_\"'"))
        both = (label, of_text) if of_text else ()
        marks += [Mark(one, begin + first.start(1), begin + first.end(1)) for one in both]
    if of_text := options.label_of_text(line):
        marks.append(Mark(of_text, begin, begin + len(line.rstrip(" \t.,;:!"))))
    last = _LETTER_LAST.fullmatch(line)
    if last and (of_text := options.label_of_text(last[1])):
        label = options.label(last[2])
        marks += [Mark(one, begin + last.start(2), begin + last.end(2)) for one in (label, of_text) if one]
    return marks
