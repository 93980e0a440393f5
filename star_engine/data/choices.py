"""Reads the choices of a row, with their positions and labels, and finds the gold answer among them.

An option that is missing (None) keeps its place: in "cat", None, "cow" the letter C means the cow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from star_engine.data.numbers import shown_number
from star_engine.tasks.examples import choice_letter, folded
from star_engine.tasks.verdict import BadGold

MAX_CHOICES = 26
# "A. cat", "(b) dog", "3) cow", "C: hen", "D)21": a letter or a number that only names the place.
_LABEL = re.compile(r"\(?([A-Za-z]|\d{1,2})(?:\)\s*|[.:]\s+|\s+-\s+)(?=\S)")
_LETTERS_IN_TEXT = (
    re.compile(r"\(([A-Za-z])\)"),
    re.compile(r"\b(?:option|choice|answer)s?\s+(?:is\s+)?([A-Z])\b"),
    re.compile(r"\b([A-Z])\s+(?:and|or|nor|&)\s+[A-Z]\b"),
    re.compile(r"\b[A-Z]\s+(?:and|or|nor|&)\s+([A-Z])\b"),
)
_SAY_WHICH = "name the field answer_index if it counts from 0, answer_number if it counts from 1"


class BadChoices(ValueError):
    """Raised for choices that cannot be used, with the reason and the fix."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(f"{reason} {fix}")
        self.reason, self.fix = reason, fix


@dataclass(frozen=True, slots=True)
class RowChoices:
    """The options of a row that have a text, in order."""

    texts: tuple[str, ...]  # without labels of their own
    places: tuple[int, ...]  # of each among the row's options, the empty ones counted
    labels: tuple[str, ...]  # as the row calls them: "A", "1"; without labels the letters of the places
    written: tuple[str, ...]  # as the row has them, labels included
    labelled: bool = False  # the row brings labels apart from the texts

    @property
    def moved(self) -> dict[str, str]:
        """Map the letters of options that follow an empty one to the letters under which they are stored."""
        own = [(choice_letter(place), choice_letter(at)) for at, place in enumerate(self.places)]
        return {} if self.labelled else {was: now for was, now in own if was != now}


def read_choices(given: Any) -> RowChoices:
    """Read a list of texts (None: missing), {"text": [...], "label": [...]}, [{"text", "label"}, ...] or
    {"A": "cat", ...}. Raises BadChoices."""
    labels, texts = _taken_apart(given)
    if not isinstance(texts, list | tuple) or not 2 <= len(texts) <= MAX_CHOICES:
        raise BadChoices("Not a list of 2 to 26 texts.", 'Write ["first", "second", ...].')
    places = tuple(place for place, text in enumerate(texts) if text is not None)
    written = tuple(_text_of(texts[place]) for place in places)
    if len(places) < 2:
        raise BadChoices("Fewer than 2 of them hold a text.", "Give every choice a text.")
    if labels is not None:
        if len(labels) != len(texts) or len({*map(_plain_label, labels)}) < len(labels):
            fix = "Give every choice a label of its own."
            raise BadChoices("Their labels do not name each of them.", fix)
        return RowChoices(written, places, tuple(_plain_label(labels[p]) for p in places), written, True)
    letters = tuple(choice_letter(place) for place in places)
    return RowChoices(_without_labels(written, places), places, letters, written)


def gold_letter(choices: RowChoices, given: str) -> str | None:
    """Return the letter of the gold answer among the options that have a text. None if none matches.

    Raises BadGold for an option that is empty and for a number that may mean several options.
    """
    if given.isdecimal() and len(given) <= 2:
        return _of_number(choices, int(given))
    label = _plain_label(given)
    same = [at for at, text in enumerate(choices.texts) if folded(text) == folded(given)]
    same = same or [at for at, text in enumerate(choices.written) if folded(text) == folded(given)]
    named = [at for at, own in enumerate(choices.labels) if own == label]
    found = {*named, *same}
    if len(found) == 1:
        return choice_letter(found.pop())
    if found:
        raise BadGold("fits more than one choice; give the letter of one, and make the texts differ")
    if choices.labelled:
        raise BadGold(f"is no choice; give the label of one: {', '.join(choices.labels)}")
    if len(label) == 1 and label.isalpha() and _is_empty(choices, ord(label) - ord("a")):
        raise BadGold(f"names choice {label}, which is empty; give the letter of a choice with a text")
    return None


def letter_at(choices: RowChoices, place: int, counted_from: int) -> str:
    """Return the letter of the option at a position. Raises BadGold where there is none."""
    at = _at(choices, place - counted_from)
    if at is None:
        last = max(choices.places) + counted_from
        raise BadGold(
            f"is the place of no choice, counted from {counted_from}; give one of {counted_from} to {last}"
        )
    return choice_letter(at)


def letter_of_text(choices: RowChoices, text: str) -> str:
    """Return the letter of the one option with this text. Raises BadGold where there is not exactly one."""
    same = [at for at, own in enumerate(choices.texts) if folded(own) == folded(text)]
    if len(same) != 1:
        reason = "is the text of more than one choice" if same else "is the text of no choice"
        raise BadGold(f"{reason}; give the text of exactly one")
    return choice_letter(same[0])


def check_letters(choices: RowChoices, texts: Iterable[str | None]) -> None:
    """Raise BadChoices where a text speaks of an option by a letter that an empty one moves."""
    moved = choices.moved
    for text in texts if moved else ():
        for pattern in _LETTERS_IN_TEXT:
            for found in pattern.finditer(text or ""):
                if (letter := found[1].casefold()) in moved:
                    raise BadChoices(
                        f"An option before {letter.upper()} is empty, and a text of the row speaks of option "
                        f"{letter.upper()}, which is stored as ({moved[letter]}).",
                        "Fill the empty option in, or name options by their texts.",
                    )


def _of_number(choices: RowChoices, number: int) -> str:
    """Return the letter for an answer that is a number, if only one of its readings is possible."""
    if choices.labelled and str(number) in choices.labels:
        return choice_letter(choices.labels.index(str(number)))
    same = [at for at, text in enumerate(choices.texts) if folded(text) == str(number)]
    if len(same) > 1:
        raise BadGold("fits more than one choice; give the letter of one, and make the texts differ")
    readings = {
        "as a text": same[0] if same else None,
        "counted from 0": _at(choices, number),
        "counted from 1": _at(choices, number - 1),
    }
    found = {how: at for how, at in readings.items() if at is not None}
    if not found or choices.labelled:
        last = choice_letter(len(choices.texts) - 1)
        raise BadGold(f"is no choice; give a letter from a to {last}")
    if same and len({*found.values()}) == 1:
        return choice_letter(same[0])
    said = [f"{how} it is {choices.texts[at]!r}" for how, at in found.items()]
    raise AmbiguousIndex(f"may be a place: {', '.join(said)}; {_SAY_WHICH}, answer_text if it is the text")


class AmbiguousIndex(BadGold):
    """Raised for a number that may be the position of an option; the whole file may say how it counts."""


def counted_from(rows: Iterable[tuple[RowChoices, Any]]) -> int | None:
    """Return whether the answers of these rows count options from 0 or from 1; None if that is not certain.

    It is certain if every answer is a whole number and no option's text, every answer fits one way of
    counting, and at least one does not fit the other.
    """
    possible = {0, 1}
    for choices, answer in rows:
        text = str(answer).strip()
        if isinstance(answer, bool) or not (text.isdecimal() and len(text) <= 2) or choices.labelled:
            return None
        if any(folded(own) == text for own in choices.texts):
            return None
        possible &= {base for base in (0, 1) if _at(choices, int(text) - base) is not None}
    return possible.pop() if len(possible) == 1 else None


def _at(choices: RowChoices, place: int) -> int | None:
    return choices.places.index(place) if place in choices.places else None


def _is_empty(choices: RowChoices, place: int) -> bool:
    return place not in choices.places and place < max(choices.places)


def _taken_apart(given: Any) -> tuple[Sequence[Any] | None, Any]:
    """Return the labels, if they stand apart from the texts, and the texts."""
    if isinstance(given, Mapping):
        if "text" in given:
            labels = given.get("label")
            return (labels if isinstance(labels, list | tuple) else None), given["text"]
        if given and all(isinstance(key, str) and len(key) == 1 for key in given):
            return list(given), list(given.values())
        return None, None
    if isinstance(given, list | tuple) and given and all(isinstance(one, Mapping) for one in given):
        texts = [one.get("text") for one in given]
        labels = [one.get("label") for one in given]
        return (None if all(label is None for label in labels) else labels), texts
    return None, given


def _text_of(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value):
        return shown_number(value)
    if not isinstance(value, str) or not value.strip():
        raise BadChoices("Holds something that is not a text, or is empty.", "Give every choice a text.")
    return value.strip()


def _plain_label(label: Any) -> str:
    return str(label).strip().strip("().:").strip().casefold()


def _without_labels(texts: tuple[str, ...], places: tuple[int, ...]) -> tuple[str, ...]:
    """Remove the labels that all texts begin with. Raises BadChoices for labels out of order."""
    found = [_LABEL.match(text) for text in texts]
    labels = [match[1].casefold() for match in found if match is not None]
    if len(labels) < len(texts):
        return texts
    orders = ([choice_letter(place) for place in places], [str(place + 1) for place in places])
    if labels in orders:
        return tuple(text[match.end() :].strip() for text, match in zip(texts, found, strict=True) if match)
    if all(sorted(labels) == sorted(order) for order in orders[:1]) or sorted(labels) == sorted(orders[1]):
        reason = f"They carry labels of their own that are out of order: {texts[0]!r} comes first."
        raise BadChoices(reason, "Put them in the order of their labels, or remove the labels.")
    return texts
