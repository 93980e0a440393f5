"""The choices of one question, and where a text names one of them by its own words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from star_engine.tasks.exact import fold
from star_engine.tasks.verdict import BadGold

MAX_CHOICES = 26
_ARTICLE = re.compile(r"^(?:the|an?) (?=\w)")  # "the umbrella" names the choice "an umbrella"
_WORD_CHARACTER = re.compile(r"\w")


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
        if folded in self.folded:
            return self.labels[self.folded.index(folded)]
        plain = _ARTICLE.sub("", folded)
        return self.labels[self.plain.index(plain)] if plain in self.plain else None


def read_options(choices: Sequence[str] | None) -> Options:
    """Check and compile the choices. Raises BadGold for fewer than 2, more than 26, or an empty one."""
    if not choices or not 2 <= len(choices) <= MAX_CHOICES:
        raise BadGold(f"needs 2 to {MAX_CHOICES} choices; give them as a list of texts")
    if not all(text.strip() for text in choices):
        raise BadGold("stands beside an empty choice; give every choice a text")
    return _options(tuple(choices))


def find_mentions(text: str, options: Options) -> list[Mark]:
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
    """Not a part of a word, of a number ("16" in "16.5") or of a possessive ("Earth" in "Earth's moon")."""
    if _WORD_CHARACTER.match(plain, end) or (start and _WORD_CHARACTER.match(plain, start - 1)):
        return False
    behind = plain[end : end + 12]
    if plain[end - 1].isdigit() and re.match(r"[.,:/%]\d|%|\s*(?:million|billion|thousand|dozen)", behind):
        return False
    if plain[start].isdigit() and re.search(r"\d[.,:/]$|[-−]$", plain[max(0, start - 2) : start]):
        return False
    return not re.match(r"'s\b|-\w", behind)


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
    plain = [_plain(text.strip().rstrip(".") or text)[0] for text in choices]
    bare = [_ARTICLE.sub("", text) for text in plain]
    distinct = [
        one if len(one) > 2 and bare.count(one) == 1 else text for one, text in zip(bare, plain, strict=True)
    ]
    return Options(choices, labels, folded, tuple(distinct))
