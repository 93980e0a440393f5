"""Accepted rows on their way to the database, in a private SQLite file: memory is its cache, however many.

The file has no name (SQLite removes it as it is opened), so a killed process leaves nothing behind.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from types import TracebackType

from app.intake.batches import Batch
from app.intake.lines import placed
from app.intake.tally import Tally
from star_engine.data.row_errors import RowError

CACHE_KIB = 32 << 10
_COLUMNS = "line, id, answer, choices, grp, split, key, tail"


class Scratch:
    """Rows by line. Equal questions have one `key`, a seeded hash; in its order they are carved.

    `tail` is the row as lines.joined() writes it; beside it stands what is counted.
    """

    def __init__(self) -> None:
        self.db = sqlite3.connect("", isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{CACHE_KIB}"):
            self.db.execute(f"PRAGMA {pragma}")
        self.db.execute(
            "CREATE TABLE rows (line INTEGER PRIMARY KEY, id TEXT, answer TEXT, choices TEXT, grp TEXT,"
            " split TEXT, key BLOB, tail TEXT)"
        )
        self.db.execute("BEGIN")
        self._named = False  # some row has an id of its own
        self.tally = Tally()

    def __enter__(self) -> Scratch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.db.close()

    def add(self, batch: Batch) -> None:
        places = ", ".join("?" * len(_COLUMNS.split(",")))
        self.db.executemany(f"INSERT INTO rows ({_COLUMNS}) VALUES ({places})", batch.rows)  # noqa: S608
        self._named = self._named or batch.named
        self.tally.join(batch.tally)

    def finish(self) -> None:
        """All rows are in: questions can be looked up."""
        self.db.execute("CREATE INDEX by_key ON rows (key, split)")

    def repeated_ids(self, most: int) -> tuple[int, list[RowError]]:
        """How many rows carry the id of an earlier one, and the first of them."""
        if not self._named:  # by their lines, every one another
            return 0, []
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
        the result, of star_engine.tasks.examples.assign_splits().
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

    def lines(self) -> Iterator[bytes]:
        """Columns of the examples table in file order; see lines.py. Positions count from 0 in each split."""
        positions: dict[str, int] = {}
        for split, tail in self.db.execute("SELECT split, tail FROM rows ORDER BY line"):
            position = positions.get(split, 0)
            positions[split] = position + 1
            yield placed(split, position, tail)
