"""Finds where a text names a choice: by its letter in parentheses, or by the choice's own text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from star_engine.tasks.exact import fold
from star_engine.tasks.reading.anchors import Rule, find_anchors
from star_engine.tasks.verdict import BadGold

MOST_CHOICES = 26
_LETTER = re.compile(r"\(\s*([A-Za-z])\s*\)")
_SENTENCE_END = re.compile(r"[.!?]+(?=\s|$)|\n")
_END_OF_TEXT = re.compile(r"""[\s.!,;*_`"'”’)\]]*$""")
_NEGATION = re.compile(
    r"\b(?:not|cannot|never|neither|nor|except|unlike|incorrect|wrong|(?:rather|other) than"
    r"|instead of)\b|n['’]t\b",
    re.IGNORECASE,
)
_BEFORE_OPTION = re.compile(
    r"""[\s*_`"'“:]*(?:\b(?:therefore|thus|an?|the|to|in|at|on|of)\b[\s*_`"'“]*)*""", re.IGNORECASE
)
_BEHIND_OPTION = re.compile(r"""[\s*_`"'”’]*(?:$|[.,;:!)\n]|\b(?:because|since|as|which)\b)""")

_WORD_CHARACTER = re.compile(r"\w")

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Mark:
    """One mention of a choice. `label` is the first letter that carries its text."""

    label: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Options:
    """The choices of one example. labels[i] is the canonical letter of choice i: equal texts share one."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    folded: tuple[str, ...]
    plain: tuple[str, ...]  # as searched for in a completion

    def label(self, letter: str) -> str | None:
        """The canonical letter, or None where no choice carries it."""
        position = ord(letter.lower()) - ord("a")
        return self.labels[position] if 0 <= position < len(self.labels) else None

    def label_of_text(self, text: str) -> str | None:
        folded = fold(text.replace("’", "'"))
        return self.labels[self.folded.index(folded)] if folded in self.folded else None


def read_options(choices: Sequence[str] | None) -> Options:
    """Check and compile the choices. Raises BadGold for fewer than 2, more than 26, or an empty one."""
    if not choices or not 2 <= len(choices) <= MOST_CHOICES:
        raise BadGold(f"needs 2 to {MOST_CHOICES} choices beside it; give them as a list of texts")
    if not all(text.strip() for text in choices):
        raise BadGold("stands beside an empty choice; give every choice a text")
    return _options(tuple(choices))


@dataclass(frozen=True, slots=True)
class MarkedText:
    """A text with every mention of a choice in it, and the ends of its sentences."""

    text: str
    letters: tuple[Mark, ...]  # in parentheses; not one inside a choice's own text, as in "vitamin (c)"
    mentions: tuple[Mark, ...]  # by text, the longest choice first; not one inside a letter's parentheses
    sentence_ends: tuple[int, ...]  # a full stop inside a choice's text ("St. Louis") ends none

    def letters_in(self, span: Span) -> list[Mark]:
        return [mark for mark in self.letters if span[0] <= mark.start < span[1]]

    def answer_sentences(self) -> list[tuple[int, Span]]:
        """Per "answer is": where what it states begins, and the sentence around it."""
        anchors = [anchor for anchor in find_anchors(self.text) if anchor.rule is Rule.ANSWER_IS]
        return [(anchor.begin, self._sentence(anchor.start, anchor.begin)) for anchor in anchors]

    def final_sentence(self) -> Span:
        last = max(0, len(self.text.rstrip()) - 1)
        return self._sentence(last, last)

    def value_behind(self, begin: int, end: int) -> tuple[Mark, str] | None:
        """What one "answer is" states, and by which rule; None where it names no choice, or denies one."""
        letters = self.letters_in((begin, end))
        if letters:
            return None if self._denied(begin, letters[0].start) else (letters[0], "letter")
        before = _BEFORE_OPTION.match(self.text, begin, end)
        start = before.end() if before else begin
        behind = [mention for mention in self.mentions if begin <= mention.start < end]
        stated = next((mention for mention in behind if mention.start <= start < mention.end), None)
        if stated is None or not _BEHIND_OPTION.match(self.text, stated.end):
            return None
        only = all(mention.label == stated.label for mention in behind)
        return (stated, "option_text") if only and not self._denied(stated.end, end) else None

    def letter_at_end(self, sentence: Span) -> Mark | None:
        """The label that ends the text: "Blotters absorb ink (e)."."""
        letters = self.letters_in(sentence)
        if not letters or not _END_OF_TEXT.match(self.text, letters[-1].end):
            return None
        return None if self._denied(sentence[0], letters[-1].start) else letters[-1]

    def contradicts(self, letter: Mark) -> bool:
        """Whether the text right beside a letter is another choice's: "blotter (b)" where blotter is (e)."""
        beside = [
            mention
            for mention in self.mentions
            if self._touch(mention.end, letter.start) or self._touch(letter.end, mention.start)
        ]
        return bool(beside) and letter.label not in {mention.label for mention in beside}

    def _touch(self, begin: int, end: int) -> bool:
        return begin <= end and not self.text[begin:end].strip(" \t*_`\"'“”’:,-")

    def _denied(self, begin: int, end: int) -> bool:
        """Whether text[begin:end] says no; a choice's own words ("do not know") aside."""
        return any(
            not any(mention.start <= no.start() < mention.end for mention in self.mentions)
            for no in _NEGATION.finditer(self.text, begin, end)
        )

    def _sentence(self, start: int, end: int) -> Span:
        """The sentence or sentences around text[start:end]."""
        begin = max((stop for stop in self.sentence_ends if stop <= start), default=0)
        return begin, min((stop for stop in self.sentence_ends if stop > end), default=len(self.text))


def mark_choices(text: str, options: Options) -> MarkedText:
    """Find every mention of a choice in the text."""
    mentions = _mentions(text, options)
    named = {position for mention in mentions for position in range(mention.start, mention.end)}
    letters = [
        Mark(label, found.start(), found.end())
        for found in _LETTER.finditer(text)
        if (label := options.label(found[1]))
    ]
    letters = [letter for letter in letters if not {letter.start, letter.end - 1} <= named]
    lettered = {position for letter in letters for position in range(letter.start, letter.end)}
    ends = [stop.end() for stop in _SENTENCE_END.finditer(text) if not {stop.start(), stop.end()} <= named]
    outside = [mention for mention in mentions if mention.start not in lettered]
    return MarkedText(text, tuple(letters), tuple(outside), tuple(ends))


def _mentions(text: str, options: Options) -> list[Mark]:
    """Whole words only, and a longer choice before one inside it ("super market" before "market").

    Plain search, not one compiled alternation per example: compiling took two thirds of an upload's check.
    """
    plain, offsets = _plain(text)
    found: list[Mark] = []
    taken: set[int] = set()
    for option, label in sorted(zip(options.plain, options.labels, strict=True), key=lambda o: -len(o[0])):
        start = plain.find(option)
        while start >= 0:
            end = start + len(option)
            if _is_whole(plain, start, end) and taken.isdisjoint(range(start, end)):
                found.append(Mark(label, offsets[start], offsets[end - 1] + 1))
                taken.update(range(start, end))
            start = plain.find(option, start + 1)
    return sorted(found, key=lambda mark: mark.start)


def _is_whole(plain: str, start: int, end: int) -> bool:
    return not _WORD_CHARACTER.match(plain, end) and not (start and _WORD_CHARACTER.match(plain, start - 1))


def _plain(text: str) -> tuple[str, list[int]]:
    """Lower case, one space for every run of white space, straight apostrophes; and where each one stands."""
    kept = [
        (" " if character.isspace() else _straight(character), offset)
        for offset, character in enumerate(text)
        if not (character.isspace() and offset and text[offset - 1].isspace())
    ]
    return "".join(character for character, _ in kept), [offset for _, offset in kept]


def _straight(character: str) -> str:
    lower = character.lower()
    return "'" if character == "’" else lower if len(lower) == 1 else character


@lru_cache(maxsize=4096)
def _options(choices: tuple[str, ...]) -> Options:
    folded = tuple(fold(text.replace("’", "'")) for text in choices)
    labels = tuple(chr(ord("a") + folded.index(text)) for text in folded)
    return Options(choices, labels, folded, tuple(_plain(text.strip())[0] for text in choices))
