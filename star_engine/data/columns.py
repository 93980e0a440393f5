"""The fields of a row, and guesses at which column of a foreign file holds one of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

# Of the four answers one is needed; which one says how it is read.
ANSWERS = ("answer", "answer_index", "answer_number", "answer_text")
FIELDS = ("question", *ANSWERS, "choices", "solution", "group", "id", "split")
_ALSO_CALLED = {
    "question": "prompt problem query instruction questiontext questionstem stem input sentence ctx text",
    "answer": "finalanswer correctanswer goldanswer expectedanswer answerkey answers gold target label "
    "correct groundtruth output completion response",
    "choices": "options endings candidates",
}
_CHATS = (("messages", "role", "content"), ("conversations", "from", "value"))
_ASKS, _ANSWERS = ("user", "human"), ("assistant", "gpt")
MAX_COLUMNS, MAX_NAME = 100, 100  # columns, and characters of a name, that are compared with the fields
Columns = tuple[tuple[str, str], ...]  # field, column


@lru_cache(maxsize=1 << 8)  # the columns of a file are those of each of its rows
def column_for(field: str, names: tuple[str, ...]) -> str | None:
    """Guess the column that holds a field, ignoring case and punctuation. None if none is likely."""
    if len(names) > MAX_COLUMNS or max(map(len, names), default=0) > MAX_NAME:
        return None
    plain = {re.sub(r"[\W_]+", "", name.casefold()): name for name in names if name not in FIELDS}
    for known in (field, *_ALSO_CALLED.get(field, "").split()):
        if known in plain:
            return plain[known]
    near = get_close_matches(field, sorted(plain), n=1, cutoff=0.6)
    return plain[near[0]] if near else None


def chat_columns(row: Mapping[str, Any]) -> tuple[str, Columns] | None:
    """Find the column of a chat in the format of fine-tuning APIs, and the paths of its question and answer.

    The paths are empty for a chat of more than one turn. None if the row is no chat.
    """
    for name, role, text in _CHATS:
        turns = row.get(name)
        if not isinstance(turns, list) or not all(isinstance(turn, Mapping) for turn in turns):
            continue
        asked = [at for at, turn in enumerate(turns) if turn.get(role) in _ASKS]
        said = [at for at, turn in enumerate(turns) if turn.get(role) in _ANSWERS]
        if len(asked) != 1 or len(said) != 1:
            return name, ()
        return name, (("question", f"{name}.{asked[0]}.{text}"), ("answer", f"{name}.{said[0]}.{text}"))
    return None
