"""Finds where a text names a choice, by its letter or by the choice's own text, and reads a stated choice."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from star_engine.tasks.reading.choices.choice_options import Mark, Options, find_mentions
from star_engine.tasks.reading.phrases import any_of, words

_PARENTHESISED = re.compile(r"\(\s*([A-Za-z])\s*\)")
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
ORDINAL = re.compile(rf"\b({'|'.join(_ORDINALS)})\s+(?:option|choice|answer)\b", re.IGNORECASE)
_NAMED = r"(?:(?:answer\s+)?(?:option|choice|letter|answer|statement)\s+)"
# "B", "B.", "B)", "B:" behind a phrase; a small letter only where nothing but punctuation follows.
_LETTER = re.compile(
    rf"{_NAMED}?(?:\(\s*(?P<round>[A-Za-z])\s*\)|\[(?P<square>[A-Za-z])\]"
    r"|(?P<bare>[A-Za-z])(?P<mark>[).:\]]*)(?![\w'’+#*/&-]))",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"""(?:[\s*_`"'“‘:>\-–—,]|[\u2713-\u27bf\U0001f300-\U0001faff→⇒]\ufe0f?|\b"""
    + any_of(
        r"""so, therefore, thus, clearly, definitely
        obviously, indeed, hence, then, simply, most likely, likely
        most probably, option, choice, answer, letter, number, that, is, the (option|choice|letter|answer)
        called, known as, la, le, die, der, das, el, il, donc, also, somit, antwort, réponse, lettre, letra
        buchstabe, opción, opzione, not \S+? but( rather)?"""
    )
    + r"\b[\s:,]*)*",
    re.IGNORECASE,
)
_ARTICLE = re.compile(
    rf"(?:{words('an?, the, to, in, at, on, of, that, your, his, her, their, its, my, our')}[\s*_`\"'“]*)*",
    re.IGNORECASE,
)
_GAP = re.compile(r"[\s*_`\"'“‘:,.)\]–—-]*")
_IN_BRACKETS = re.compile(r"[\s*_`.)]{0,20}\(\s{0,5}")
_WHICH_IS = re.compile(r"\)?,?\s{0,5}(?:which|that)\s+is\s+", re.IGNORECASE)
_GOES_ON = words(
    "because, since, as, which, for, is (correct|right|the), so, due, given, where, not, rather, instead"
)
_BEHIND_LETTER = re.compile(
    rf"""[\s*_`"'”’)\]]*(?:$|[.,;:!\n。，—–\-(|=]|{_GOES_ON}|\b(?:while|here|in\s+this)\b)""", re.IGNORECASE
)
_BEHIND_OPTION = re.compile(
    rf"""[\s*_`"'”’]*(?:$|[.;:!,)\n。—–]|\s-\s|\(|{_GOES_ON}|\b(?:option|choice)\b)""", re.IGNORECASE
)
# The letter of a text just named: "blotter (e)", "Mars, which is option D", "Mars (option D)".
_LETTER_OF_TEXT = re.compile(
    rf"[\s*_`\"'”’:,.(-]{{0,20}}(?:(?:which|that)\s+is\s+|is\s+)?(?:the\s+)?(?:correct\s+)?"
    rf"(?:{_NAMED}\(?(?P<named>[A-Za-z])\b|(?<=\()(?P<round>[A-Za-z])(?=\)))\)?",
    re.IGNORECASE,
)
# Bounded: two runs of white space next to each other would cost the square of their length.
_ANOTHER = re.compile(
    r"""[\s*_`"'”’)\].:]{0,20}(?:,?\s{0,5}\b(?:and/or|or|and)\b|[,/&+])\s{0,5}"""
    rf"""(?:(?:also|maybe|perhaps|possibly|either)\s+|{_NAMED})?[\s*_`"'“]{{0,20}}""",
    re.IGNORECASE,
)
_ANY_LETTER = re.compile(r"\(\s*([A-Za-z])\s*\)|\b([A-Z])\b(?![\w'’+#*&-])(?=[).:,;\s*]|$)")
# Less strictly, for what follows an answer: "it's C", "option c", "C fits better".
_NAMED_LETTER = re.compile(
    r"\(\s*([A-Za-z])\s*\)|\b(?i:option|choice|answer|letter)\s+\(?([A-Za-z])\b\)?"
    r"|\b(?:is|it['’]s|be|to|was|with|than|not|or)\s+([B-Z])\b(?!['’\w+#-])"
    r"|(?:^|[,;:.]\s+)([A-Z])\b(?=\s*(?:[.,;:!)]|$|fits|is\b|would|makes))"
)

Span = tuple[int, int]


class LettersDisagree(Exception):
    """A letter stands beside the text of another choice, or several are named."""


@dataclass(frozen=True, slots=True)
class MarkedText:
    """A text with every mention of a choice in it."""

    text: str
    options: Options
    mentions: tuple[Mark, ...]  # by text, the longest choice first; whole words only
    letters: tuple[Mark, ...]  # in parentheses; not one inside a choice's own text, as in "vitamin (c)"

    def stated(self, begin: int, end: int) -> Mark | None:
        """The choice that text[begin:end] begins with, by letter or text. Raises LettersDisagree."""
        lead = _LEAD.match(self.text, begin, end)
        start = lead.end() if lead else begin
        mark = self._by_text(start, end) or self._by_letter(start, end)
        # "the answer" is lead, but an option may itself begin with "that": then it counts from there.
        return mark or self._by_text(begin, end)

    def anywhere(self, begin: int, end: int) -> list[Mark]:
        """Letters in parentheses between two positions."""
        return [mark for mark in self.letters if begin <= mark.start < end]

    def only_letter(self, letters: Sequence[Mark]) -> Mark:
        """The last of these letters. Raises LettersDisagree where they differ, or the text beside it does."""
        last = letters[-1]
        if len({letter.label for letter in letters}) > 1:
            raise LettersDisagree("several_letters")
        touching = {
            mention.label
            for mention in self.mentions
            if mention.end <= last.start and not self.text[mention.end : last.start].strip(" *_`\"'”,:-")
        }
        if touching and last.label not in touching:
            raise LettersDisagree("letter_and_text_disagree")
        return last

    def mentioned(self, begin: int, end: int) -> list[Mark]:
        """Everything that names a choice between two positions, less strictly: in the plural, too."""
        found = [mention for mention in self.mentions if begin <= mention.start < end]
        for named in _NAMED_LETTER.finditer(self.text, begin, end):
            letter = named[1] or named[2] or named[3] or named[4]
            inside = any(mention.start <= named.start() < mention.end for mention in self.mentions)
            if not inside and (label := self.options.label(letter)):
                found.append(Mark(label, named.start(), named.end()))
        lower = self.text[begin:end].lower()
        for text, label in zip(self.options.plain, self.options.labels, strict=True):
            at = lower.find(text + "s")
            if at >= 0 and len(text) > 3:
                found.append(Mark(label, begin + at, begin + at + len(text)))
        return found

    def _by_letter(self, start: int, end: int) -> Mark | None:
        found = _LETTER.match(self.text, start, end)
        name = found.lastgroup if found and found.lastgroup in ("round", "square") else "bare"
        label = self.options.label(found[name]) if found else None
        if found is None or label is None:
            return None
        at, stop = found.span(name)
        if name == "round":
            at, stop = self.text.rindex("(", start, at), self.text.index(")", stop) + 1
        # "(b). Earth (c) is third": a full stop behind brackets ends the sentence; behind "B" it is a mark.
        ends = name == "round" and self.text[found.end() : found.end() + 1] == "."
        beside = None if ends else self.beside(found.end(), end)
        if name == "bare" and beside is None and not self._is_bare_letter(found, end):
            return None
        mark = Mark(label, at, stop)
        self._check(mark, beside, beside.end if beside else found.end(), end)
        return mark

    def _is_bare_letter(self, found: re.Match[str], end: int) -> bool:
        """Whether a letter without parentheses is a label, and no article, pronoun or initial."""
        letter, behind = found["bare"], found.end()
        rest = self.text[behind:end].strip(" *_`\"'”’.!)]\t\r")
        if not rest:
            return True
        if letter.islower():
            return found["mark"][:1] in (")", ":")
        if found["mark"]:
            return True
        return any(pattern.match(self.text, behind, end) for pattern in (_BEHIND_LETTER, _ANOTHER))

    def beside(self, position: int, end: int) -> Mark | None:
        """The option text right behind a letter, dressing and articles between them aside."""
        bracket = _IN_BRACKETS.match(self.text, position, end)
        inside = self._mention_at(bracket.end(), end) if bracket else None
        if inside is not None and self.text[inside.end : inside.end + 1] == ")":
            return inside
        gap = _WHICH_IS.match(self.text, position, end) or _GAP.match(self.text, position, end)
        start = gap.end() if gap else position
        return self.named_at(start, end)

    def named_at(self, start: int, end: int) -> Mark | None:
        """The choice whose text, behind an article at most, begins at a position."""
        return self._mention_at(start, end) or self._mention_at(self._article_end(start, end), end)

    def _mention_at(self, start: int, end: int) -> Mark | None:
        return next((one for one in self.mentions if one.start == start and one.end <= end), None)

    def _article_end(self, start: int, end: int) -> int:
        article = _ARTICLE.match(self.text, start, end)
        return article.end() if article else start

    def _by_text(self, start: int, end: int) -> Mark | None:
        for at in dict.fromkeys((start, self._article_end(start, end))):
            mention = self._mention_at(at, end)
            if mention is None or not _BEHIND_OPTION.match(self.text, mention.end, end):
                continue
            letter = _LETTER_OF_TEXT.match(self.text, mention.end, end)
            label = self.options.label(letter["named"] or letter["round"]) if letter else None
            if letter is None or label is None:
                self._check(mention, None, mention.end, end)
                return mention
            group = "named" if letter["named"] else "round"
            beside = Mark(label, *letter.span(group))
            self._check(mention, beside, letter.end(), end)
            return Mark(label, beside.start - 1, beside.end + 1) if group == "round" else mention
        return None

    def _check(self, mark: Mark, beside: Mark | None, behind: int, end: int) -> None:
        """Raise LettersDisagree where text and letter are of two choices, or another choice is added."""
        if beside is not None and beside.label != mark.label:
            raise LettersDisagree("letter_and_text_disagree")
        next_letter = _PARENTHESISED.match(self.text, behind + (self.text[behind : behind + 1] == " "), end)
        next_label = self.options.label(next_letter[1]) if next_letter else None
        if next_label and next_label != mark.label:
            raise LettersDisagree("several_letters")  # "(b) (c)"
        more = _ANOTHER.match(self.text, behind, end)
        if not more:
            return
        added = _ANY_LETTER.match(self.text, more.end(), end)
        label = self.options.label(added[1] or added[2]) if added else None
        is_comma = more[0].strip(" *_`\"'”’).]:") == ","
        if label is None and not is_comma:  # "Mars, Earth's neighbour" adds no choice
            article_end = self._article_end(more.end(), end)
            mention = self._mention_at(more.end(), end) or self._mention_at(article_end, end)
            label = mention.label if mention else None
        if label and label != mark.label:
            raise LettersDisagree("several_letters")


def mark_choices(text: str, options: Options) -> MarkedText:
    """Find every mention of a choice in the text."""
    mentions = find_mentions(text, options)
    named = {position for mention in mentions for position in range(mention.start, mention.end)}
    letters = [
        Mark(label, found.start(), found.end())
        for found in _PARENTHESISED.finditer(text)
        if (label := options.label(found[1]))
    ]
    letters += [
        Mark(label, found.start(), found.end())
        for found in ORDINAL.finditer(text)
        if (label := options.label(chr(ord("a") + _ORDINALS.index(found[1].lower()))))
    ]
    letters.sort(key=lambda letter: letter.start)
    letters = [letter for letter in letters if not {letter.start, letter.end - 1} <= named]
    lettered = {position for letter in letters for position in range(letter.start, letter.end)}
    outside = [mention for mention in mentions if mention.start not in lettered]
    return MarkedText(text, options, tuple(outside), tuple(letters))
