"""Reads Parquet as rows, with numbers the way the author of the file saw them.

Only for a process with limits (see app/intake/child.py): a file of 300 bytes can claim gigabytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, BinaryIO

from app.intake.mapping import Columns, Row, check_columns, mapped, read_from
from star_engine.data.numbers import shown_number
from star_engine.data.row_errors import BadRows, bad_row, too_long

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 1000  # rows at once
_NO_NUMBERS = ("nan", "inf", "-inf")


def parquet_rows(file: BinaryIO, mapping: Columns | None, max_bytes: int) -> Iterator[Row]:
    """Read the columns that a row is made of. Row numbers stand for lines."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(file)
        names = table.schema_arrow.names
        check_columns(names, mapping)
        classes = _class_names(table.schema_arrow)
        decimals = {one.name for one in table.schema_arrow if pa.types.is_decimal(one.type)}
        line = 0
        for batch in table.iter_batches(BATCH, columns=read_from(names, mapping), use_threads=False):
            batch.validate(full=True)  # Arrow's own advice for files that others have written
            texts, floats = _as_texts(batch)
            for row in texts.to_pylist():
                line += 1
                for name in row.keys() & (floats | classes.keys() | decimals):
                    row[name] = _shown(row[name], name in floats, classes.get(name))
                yield line, _from_values(row, mapping, line, max_bytes)
    except MemoryError:  # Arrow's own is an ArrowException too
        raise
    except (pa.ArrowException, OSError) as problem:
        raise bad_row(1, f"Not Parquet that can be read: {problem}.", "Write the file again.") from problem


def _as_texts(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, frozenset[str]]:
    """Return the batch with floats (also those in lists) as texts, and the names of these columns.

    A float32 of 0.1 has other digits as a Python float, and the 7 of a column of integers with a gap is 7.0.
    """
    import pyarrow as pa

    changed = set()
    for place, column in enumerate(batch.schema):
        wanted = _text_for(column.type)
        if wanted is not None:
            texts = batch.column(place).cast(wanted)
            batch = batch.set_column(place, pa.field(column.name, wanted), texts)
            changed.add(column.name)
    return batch, frozenset(changed)


def _text_for(kind: pa.DataType) -> pa.DataType | None:
    import pyarrow as pa

    if pa.types.is_floating(kind):
        return pa.string()
    if pa.types.is_list(kind) and pa.types.is_floating(kind.value_type):
        return pa.list_(pa.string())
    return None


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Return the class names behind integer columns, if the hub's `datasets` library has recorded them."""
    try:
        told = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = told["info"]["features"]
        return {
            name: [str(one) for one in feature["names"]]
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def _from_values(
    row: Mapping[str, Any], mapping: Columns | None, line: int, max_bytes: int
) -> Mapping[str, Any] | BadRows:
    if sum(len(value) for value in row.values() if isinstance(value, str | bytes | list)) > max_bytes:
        return too_long(line, max_bytes)
    try:
        return mapped(row, mapping, line)
    except BadRows as bad:
        return bad


def _shown(value: Any, is_float: bool, names: list[str] | None) -> Any:
    if is_float and value is not None:
        return [_number(one) for one in value] if isinstance(value, list) else _number(value)
    if names is not None and isinstance(value, int):
        return names[value] if 0 <= value < len(names) else None
    return shown_number(value) if isinstance(value, Decimal) else value


def _number(written: str | None) -> str | float | None:
    """Return it as text, except NaN and infinity: they stay floats, which every row refuses."""
    return float(written) if written in _NO_NUMBERS else written and shown_number(written)
