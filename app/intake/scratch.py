"""Accepted rows on their way to the database, in a private SQLite file: memory is its cache, however many.

The file has no name (SQLite removes it as it is opened), so a killed process leaves nothing behind.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from hashlib import blake2b
from types import TracebackType
from typing import Any

from star_engine.examples import Example, folded
from star_engine.readers import RowError

CACHE_KIB = 32 << 10
BATCH = 1000  # rows per insert
_COLUMNS = "line, id, question, answer, choices, grp, solution, split, key"


class Scratch:
    """Rows by line. Equal questions have one `key`, a seeded hash; in its order they are carved."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.db = sqlite3.connect("", isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{CACHE_KIB}"):
            self.db.execute(f"PRAGMA {pragma}")
        self.db.execute(
            "CREATE TABLE rows (line INTEGER PRIMARY KEY, id TEXT, question TEXT, answer TEXT, choices TEXT,"
            " grp TEXT, solution TEXT, split TEXT, key BLOB)"
        )
        self.db.execute("BEGIN")
        self._waiting: list[tuple[Any, ...]] = []

    def __enter__(self) -> Scratch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.db.close()

    def add(self, line: int, example: Example) -> None:
        choices = None if example.choices is None else json.dumps(example.choices)
        row = (line, example.id, example.question, example.answer, choices, example.group, example.solution)
        self._waiting.append((*row, example.split, question_key(self.seed, example.question)))
        if len(self._waiting) >= BATCH:
            self._flush()

    def finish(self) -> None:
        """All rows are in: unmarked ones train, and questions can be looked up."""
        self._flush()
        self.db.execute("UPDATE rows SET split = 'train' WHERE split IS NULL")
        self.db.execute("CREATE INDEX by_key ON rows (key, split)")

    def repeated_ids(self, most: int) -> tuple[int, list[RowError]]:
        """How many rows carry the id of an earlier one, and the first of them."""
        self.db.execute("CREATE INDEX by_id ON rows (id)")
        first = "SELECT id, min(line) AS first FROM rows GROUP BY id HAVING count(*) > 1"
        query = f"FROM rows JOIN ({first}) USING (id) WHERE line > first"
        count: int = self.db.execute(f"SELECT count(*) {query}").fetchone()[0]
        some = self.db.execute(f"SELECT line, id, first {query} ORDER BY line LIMIT ?", (most,))
        return count, [
            RowError(line, "id", f"{name!r} is the id of row {earlier} too.", "Make ids unique.")
            for line, name, earlier in some
        ]

    def carve(self, held_out: int) -> None:
        """Move whole questions from train to validation until they cover `held_out` rows: the choice, and so
        the result, of star_engine.examples.assign_splits().
        """
        sizes = self.splits()
        count = min(held_out, sizes.get("train", 0) // 2)
        if "validation" in sizes or count <= 0:
            return
        covered, up_to = 0, b""
        questions = self.db.execute(
            "SELECT key, count(*) FROM rows WHERE split = 'train' GROUP BY key ORDER BY key"
        )
        for key, rows in questions:
            covered, up_to = covered + rows, key
            if covered >= count:
                break
        questions.close()
        self.db.execute("UPDATE rows SET split = 'validation' WHERE key <= ? AND split = 'train'", (up_to,))

    def splits(self) -> dict[str, int]:
        return dict(self.db.execute("SELECT split, count(*) FROM rows GROUP BY split ORDER BY min(line)"))

    def rows(self) -> Iterator[dict[str, Any]]:
        """Columns of the examples table, in file order. Positions count from 0 within each split."""
        positions: dict[str, int] = {}
        query = self.db.execute(
            "SELECT id, question, answer, choices, grp, solution, split FROM rows ORDER BY line"
        )
        for name, question, answer, choices, group, solution, split in query:
            position = positions.get(split, 0)
            positions[split] = position + 1
            yield {
                "external_id": name,
                "question": question,
                "answer": answer,
                "choices": None if choices is None else json.loads(choices),
                "group": group,
                "solution": solution,
                "split": split,
                "position": position,
            }

    def _flush(self) -> None:
        places = ", ".join("?" * len(_COLUMNS.split(",")))
        self.db.executemany(f"INSERT INTO rows ({_COLUMNS}) VALUES ({places})", self._waiting)  # noqa: S608
        self._waiting.clear()


def question_key(seed: int, question: str) -> bytes:
    return blake2b(f"{seed}\x1f{folded(question)}".encode(), digest_size=16).digest()
