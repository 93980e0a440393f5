"""Ordinary text for Quiet-STaR: documents from a file, some of them held out, and windows of their tokens."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from star_engine.data.row_errors import BadRows, RowError
from star_engine.data.row_fields import RowFields
from star_engine.tasks.examples import Example

MAX_ERRORS = 20  # mistakes that are told
PIECE = 2000  # characters after which the next blank line ends a document of a plain text
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


def each_document(path: Path) -> Iterator[str]:
    """Documents of a JSONL file that `write_documents` has written, one at a time."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield str(json.loads(line)["text"])


def write_documents(path: Path, documents: Iterable[str]) -> int:
    """Write a JSONL file of documents; how many they are."""
    written = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for text in documents:
            file.write(json.dumps({"text": text}) + "\n")
            written += 1
    return written


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


def read_document(row: Mapping[str, Any], line: int) -> Example:
    """The document of an uploaded row, {"text", "id"?, "group"?, "split"?}, as an example without an answer.

    White space within and around the text stays. Raises BadRows with every mistake in the row.
    """
    errors: list[RowError] = []
    fields = RowFields(row, line, errors)
    text = row.get("text")
    if text is None:
        known = ", ".join(repr(str(name)[:40]) for name in list(row)[:10] if name != "text")
        reason = f"Missing; the row has {known}." if known else "Missing."
        fields.refuse("text", reason, 'Write {"text": "..."}, or map=text:COLUMN.')
    elif not isinstance(text, str) or not text.strip():
        fields.refuse("text", "Not a text, or empty.", 'Write {"text": "..."}.')
    else:
        fields.storable("text", text)
    document = Example(
        id=fields.name("id") or f"row-{line}",
        question=str(text),
        answer="",
        group=fields.name("group"),
        split=fields.split(),
    )
    if errors:
        raise BadRows(errors)
    return document


def pieces(lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Documents of a plain text, each with the number of its first line.

    A document ends at the first blank line behind PIECE characters, so that some of a long text can be held
    out. `lines`: with their numbers and line ends.
    """
    first, held, size = 0, list[str](), 0
    for number, line in lines:
        if not line.strip() and size >= PIECE:
            yield first, "".join(held)
            held, size = [], 0
            continue
        if not held:
            if not line.strip():
                continue
            first = number
        held.append(line)
        size += len(line)
    if held:
        yield first, "".join(held)


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
