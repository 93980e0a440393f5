"""Which stop string ends a text."""

from __future__ import annotations

import pytest

from star_engine.sampling.stops import first_stop


@pytest.mark.parametrize(
    ("text", "stops", "expected"),
    [
        ("one two", (), None),
        ("one two", ("three",), None),
        ("one two one", ("one",), (0, "one")),
        ("one two three", ("three", "two"), (4, "two")),
        ("abcd", ("abcd", "bc"), (1, "bc")),  # which is complete before the other is
        ("abc", ("abc", "c"), (0, "abc")),
        ("abc", ("c", "abc"), (2, "c")),  # complete with the same character: the first listed
    ],
)
def test_the_stop_that_is_complete_first_ends_a_text(
    text: str, stops: tuple[str, ...], expected: tuple[int, str] | None
) -> None:
    assert first_stop(text, stops) == expected


def test_the_same_stop_ends_a_text_however_it_grows() -> None:
    text, stops = "xx abcab bcd", ("bcd", "abca", "cab", "ab b")
    [*_, shortest] = [end for end in range(len(text), 0, -1) if first_stop(text[:end], stops)]
    assert first_stop(text[:shortest], stops) == first_stop(text, stops)
