"""Ordinary text for Quiet-STaR: documents from a file, some of them held out, and windows of their tokens."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from star_engine.data.row_errors import BadRows, RowError

MAX_ERRORS = 20  # mistakes that are told
_FIX = 'Give each line as {"text": "..."}.'


def read_documents(path: Path) -> list[str]:
    """Documents of a JSONL file (`text` of each line), or the whole of a text file as one document.

    Raises BadRows naming the lines that hold no text, and OSError.
    """
    if path.suffix != ".jsonl":
        text = path.read_text(encoding="utf-8")
        if not text.strip():
            raise BadRows([RowError(1, "text", "The file is empty.", "Give a text.")])
        return [text]
    with path.open(encoding="utf-8") as lines:
        found = [_read(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    errors = [one for one in found if isinstance(one, RowError)]
    if errors or not found:
        raise BadRows(errors[:MAX_ERRORS] or [RowError(1, "text", "The file has no lines.", _FIX)])
    return [one for one in found if isinstance(one, str)]


def _read(number: int, line: str) -> str | RowError:
    try:
        row = json.loads(line)
    except ValueError as problem:
        return RowError(number, "text", f"This is no JSON: {problem}.", _FIX)
    if not isinstance(row, dict) or "text" not in row:
        return RowError(number, "text", "Missing.", _FIX)
    if not isinstance(row["text"], str) or not row["text"].strip():
        return RowError(number, "text", "Not a text, or empty.", _FIX)
    return str(row["text"])


def held_out_documents(documents: Sequence[str], share: float, seed: int) -> tuple[list[str], list[str]]:
    """Documents to train on and held-out ones, about `share` of them. Equal ones land on the same side.

    Chosen by a hash of the text, so that neither order nor other documents change where one lands.
    """
    train, held_out = list[str](), list[str]()
    for document in documents:
        digest = sha256(f"{seed}\n{document}".encode()).digest()
        place = int.from_bytes(digest[:8], "big") / 2**64
        (held_out if place < share else train).append(document)
    return train, held_out


def windows(documents: Iterable[Sequence[int]], length: int, separator: int) -> Iterator[list[int]]:
    """Windows of `length` token ids from documents laid end to end, with the separator after each of them.

    What is left behind the last whole window is dropped.
    """
    rest: list[int] = []
    for ids in documents:
        rest += [*ids, separator]
        whole = len(rest) - len(rest) % length
        yield from (rest[start : start + length] for start in range(0, whole, length))
        rest = rest[whole:]
