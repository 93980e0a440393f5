"""English number words: "eighteen", "forty-two", "three hundred and five"."""

from __future__ import annotations

import re

_BELOW_20 = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_TENS_FROM_20 = "twenty thirty forty fifty sixty seventy eighty ninety"
_SMALL = {word: value for value, word in enumerate(_BELOW_20.split())}
_TENS = {word: 10 * tens for tens, word in enumerate(_TENS_FROM_20.split(), start=2)}
_SCALES = {"thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}

NUMBER_WORDS = frozenset(_SMALL) | frozenset(_TENS) | frozenset(_SCALES) | {"hundred"}

_UNDER_100 = rf"(?:(?:{'|'.join(_TENS)})(?:[ -](?:{'|'.join(list(_SMALL)[1:10])}))?|{'|'.join(_SMALL)})"
_UNDER_1000 = rf"(?:(?:{'|'.join(list(_SMALL)[1:10])})[ ]hundred(?:(?:[ ]and)?[ ]{_UNDER_100})?|{_UNDER_100})"
_WORDS = re.compile(
    rf"(?:(?P<billion>{_UNDER_1000})[ ]billion(?:[ ,]+(?:and[ ])?)?)?"
    rf"(?:(?P<million>{_UNDER_1000})[ ]million(?:[ ,]+(?:and[ ])?)?)?"
    rf"(?:(?P<thousand>{_UNDER_1000})[ ]thousand(?:[ ,]+(?:and[ ])?)?)?(?P<rest>{_UNDER_1000})?"
)


def read_number_words(text: str) -> int | None:
    """The value of a text that is one spelt-out number and nothing else; None for any other text."""
    words = " ".join(text.lower().split())
    found = _WORDS.fullmatch(words)
    if not found or not words:
        return None
    scaled = sum(scale * _under_1000(found[name] or "") for name, scale in _SCALES.items())
    return scaled + _under_1000(found["rest"] or "")


def _under_1000(words: str) -> int:
    hundreds, _, rest = words.rpartition("hundred")
    value = 100 * _SMALL.get(hundreds.strip(), 0)
    return value + sum(_SMALL.get(word, 0) + _TENS.get(word, 0) for word in re.split(r"[ -]", rest))
