"""Reads the sheet of an Excel workbook (.xlsx) as rows, with values the way the author of the file saw them.

Only for a process with limits (see app/intake/child.py): a workbook is a ZIP archive.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any, BinaryIO

from app.intake.delimited import header, row_of_cells
from app.intake.mapping import Columns, Row, check_columns
from star_engine.data.numbers import shown_number
from star_engine.data.row_errors import BadRows, bad_row, too_long

Sheet = tuple[int, list[list[Any]]]  # the number of its first row, and its rows


def workbook_rows(file: BinaryIO, mapping: Columns | None, max_bytes: int) -> Iterator[Row]:
    """Yield the rows of the only sheet whose first row names the columns of a dataset, by their row numbers.

    Raises BadRows where no sheet has these columns, where several have, and for what is no workbook.
    """
    line, rows = _sheet_with_questions(_sheets(file), mapping)
    first = [_shown(cell).strip() for cell in rows[0]]
    while not first[-1]:  # other rows may be longer
        first.pop()
    names = header(first)
    for number, cells in enumerate(rows[1:], start=line + 1):
        texts = [_shown(cell) for cell in cells]
        if any(text.strip() for text in texts):
            yield number, _row(names, texts, mapping, number, max_bytes)


def _sheets(file: BinaryIO) -> dict[str, Sheet]:
    """Every sheet that has a cell, by its name."""
    import python_calamine

    try:
        book = python_calamine.CalamineWorkbook.from_filelike(file)
        found = {name: book.get_sheet_by_name(name) for name in book.sheet_names}
        return {name: (one.start[0] + 1, one.to_python()) for name, one in found.items() if one.start}
    except python_calamine.CalamineError as problem:
        reason = f"Not an Excel workbook that can be read: {problem}."
        raise bad_row(1, reason, "Save it again, or as CSV (UTF-8).") from problem


def _sheet_with_questions(sheets: Mapping[str, Sheet], mapping: Columns | None) -> Sheet:
    fitting, errors = [], []
    for name, (line, rows) in sheets.items():
        try:
            check_columns([text for cell in rows[0] if (text := _shown(cell).strip())], mapping)
            fitting.append(name)
        except BadRows as bad:
            errors.append((line, bad))
    if len(fitting) > 1 and mapping is None:  # as it stands: the one with questions, if any has them
        asked = [name for name in fitting if _has_questions(sheets[name])]
        return sheets[(asked or fitting)[0]]
    if len(fitting) > 1:
        reason = f"Several sheets hold questions: {', '.join(map(repr, fitting))}."
        raise bad_row(1, reason, "Leave one of them in the workbook, and send the others by themselves.")
    if fitting:
        return sheets[fitting[0]]
    raise errors[0][1] if errors else bad_row(1, "The workbook is empty.", "Write a question a row.")


def _has_questions(sheet: Sheet) -> bool:
    try:
        check_columns([text for cell in sheet[1][0] if (text := _shown(cell).strip())], ())
    except BadRows:
        return False
    return True


def _row(
    names: list[str], texts: list[str], mapping: Columns | None, line: int, max_bytes: int
) -> Mapping[str, Any] | BadRows:
    if sum(map(len, texts)) > max_bytes:
        return too_long(line, max_bytes)
    if any(text.strip() for text in texts[len(names) :]):
        return bad_row(line, "A cell stands under no name.", "Name its column in the first row, or clear it.")
    return row_of_cells(dict(zip(names, texts, strict=False)), mapping, line)


def _shown(cell: Any) -> str:
    """A number with the 15 digits that Excel keeps; a date without the midnight that Excel gives it."""
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, int | float):
        return shown_number(f"{cell:.15g}")
    if isinstance(cell, datetime) and cell.time() != time():
        return cell.isoformat(" ")
    if isinstance(cell, datetime | date):
        return f"{cell:%Y-%m-%d}"
    return cell.isoformat() if isinstance(cell, time) else str(cell) if isinstance(cell, timedelta) else cell
