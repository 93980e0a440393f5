"""Several files of a hub's dataset as one, whose rows say their split where there are several of them.

As a program it does that in a process with limits, of the files that its standard input names: Parquet of a
stranger can take any memory.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from app.intake.child import BEYOND_LIMITS, confine
from app.intake.hub.names import NotRead, ending

ROWS = 1000  # read at a time
REFUSED = 4  # exit status; why is on stderr
Files = Mapping[str, Sequence[Path]]  # by what the platform calls their split; "" where there is one alone


def as_one(files: Files, folder: Path) -> Path:
    """One file of all rows, below `folder` where it had to be made. Raises NotRead."""
    paths = [path for found in files.values() for path in found]
    if len(paths) == 1 and "" in files:
        return paths[0]
    endings = {ending(path.name) for path in paths}
    if endings == {".parquet"}:
        return _joined_tables(files, folder / "rows.parquet")
    if endings <= {".jsonl", ".ndjson"} and all(path.suffix in (".jsonl", ".ndjson") for path in paths):
        return _joined_lines(files, folder / "rows.jsonl")
    raise NotRead(
        f"Several files of {' and '.join(sorted(endings))} are not put together here: name one split, or "
        "convert them to Parquet or JSONL."
    )


def _joined_tables(files: Files, out: Path) -> Path:
    from pyarrow import Table, parquet, string  # which takes a while, and lines do not need it
    from pyarrow import array as column

    writer: parquet.ParquetWriter | None = None
    try:
        for split, path in _each(files):
            for batch in parquet.ParquetFile(path).iter_batches(batch_size=ROWS):
                table = Table.from_batches([batch])
                if split:
                    marks = column([split] * len(table), string())
                    table = table.drop_columns([n for n in table.column_names if n == "split"])
                    table = table.append_column("split", marks)
                if writer is None:
                    writer = parquet.ParquetWriter(out, table.schema)
                writer.write_table(table.cast(writer.schema))
    except ValueError as problem:  # pyarrow's ArrowInvalid: shards of other columns
        raise NotRead(f"The files of it cannot be put together: {problem}") from problem
    finally:
        if writer is not None:
            writer.close()
    return out


def _joined_lines(files: Files, out: Path) -> Path:
    with out.open("w", encoding="utf-8") as written:
        for split, path in _each(files):
            with path.open(encoding="utf-8") as lines:
                for line in filter(str.strip, lines):
                    written.write(_with_split(line, split) if split else f"{line.rstrip()}\n")
    return out


def _with_split(line: str, split: str) -> str:
    row = json.loads(line)
    if not isinstance(row, dict):
        raise NotRead(f"A line of the split {split} is no JSON object.")
    return json.dumps({**row, "split": split}) + "\n"


def _each(files: Files) -> Iterator[tuple[str, Path]]:
    return ((split, path) for split, paths in files.items() for path in paths)


def main(parent: str, folder: str, memory: str, file_bytes: str, seconds: str) -> int:
    if not confine(int(parent), int(memory), int(file_bytes), int(seconds)):
        return REFUSED
    try:
        named = {split: [Path(path) for path in paths] for split, paths in json.load(sys.stdin).items()}
        sys.stdout.write(str(as_one(named, Path(folder))))
    except NotRead as problem:
        sys.stderr.write(str(problem))
        return REFUSED
    except (MemoryError, OSError):
        os._exit(BEYOND_LIMITS)
    except ValueError as problem:  # a line that is no JSON, a file that is no Parquet
        sys.stderr.write(f"A file of it cannot be read: {problem}")
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
