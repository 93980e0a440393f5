"""Word lists as patterns, so that the lists can be read."""

from __future__ import annotations

import re


def any_of(listed: str) -> str:
    r"""A pattern for any of the phrases, which are parted by commas or line ends.

    A space stands for any white space and ' for either apostrophe; what else means something to `re` keeps
    its meaning: "rul(e|es|ed) out" is `rul(?:e|es|ed)\s+out`.
    """
    listed = listed.replace("(", "(?:").replace("(?:?", "(?")
    phrases = [" ".join(phrase.split()) for phrase in re.split(r"[,\n]", listed)]
    return (
        "(?:"
        + "|".join(phrase.replace(" ", r"\s+").replace("'", "['’]") for phrase in phrases if phrase)
        + ")"
    )


def words(listed: str) -> str:
    """`any_of`, as whole words."""
    return rf"\b{any_of(listed)}\b"
