"""Rows as a Parquet file: written to disk in row groups, so that any number fits in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from tempfile import TemporaryFile
from typing import IO, Any

GROUP = 5000  # rows per row group
CHUNK = 1 << 20
MEDIA_TYPE = "application/vnd.apache.parquet"


def parquet_file(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> IO[bytes]:
    """A temporary file with these columns: name to "string", "int64", "bool", "list<string>" or
    "list<turn>", of role and content.
    """
    import pyarrow as pa  # 0.3 s, which only those pay who export
    from pyarrow import parquet

    turn = pa.struct([("role", pa.string()), ("content", pa.string())])
    types = {"list<string>": pa.list_(pa.string()), "list<turn>": pa.list_(turn)}
    schema = pa.schema(
        [(name, types.get(type_) or pa.type_for_alias(type_)) for name, type_ in columns.items()]
    )
    file = TemporaryFile()  # noqa: SIM115 - read, and so closed, by chunks_of()
    left = iter(rows)
    try:
        with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
            while group := [dict(row) for row in islice(left, GROUP)]:
                writer.write_table(pa.Table.from_pylist(group, schema))
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file


def chunks_of(file: IO[bytes]) -> Iterator[bytes]:
    """The file's bytes; it is closed, and so gone, at the end."""
    with file:
        while chunk := file.read(CHUNK):
            yield chunk
