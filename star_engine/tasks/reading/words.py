"""Words and numbers of a text."""

from __future__ import annotations

import re

_TOKEN = re.compile(r"[0-9]+(?:[.,][0-9]+)*|[^\W\d_]+(?:['’][^\W\d_]+)?")


def tokens(text: str) -> list[str]:
    """Words and numbers in lower case; punctuation dropped."""
    return [found[0].lower() for found in _TOKEN.finditer(text)]
