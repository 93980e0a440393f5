"""Excel workbooks as datasets. The files are written here as Excel writes them: XML in a ZIP archive."""

from __future__ import annotations

import gzip
from io import BytesIO
from typing import Any
from xml.sax.saxutils import escape
from zipfile import ZIP_DEFLATED, ZipFile

import pytest

from tests.app.api_harness import Api
from tests.app.intake.test_tables import error, examples, send

MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
RELATED = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGED = "http://schemas.openxmlformats.org/package/2006"
FORMATS, DATE_STYLE = '<xf numFmtId="0"/><xf numFmtId="14"/>', 1
HEAD = ("question", "answer")


class Day(int):
    """Excel's count of days, in a cell formatted as a date."""


def workbook(**sheets: list[tuple[Any, ...]]) -> bytes:
    """A workbook of these sheets; None leaves a cell out."""
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{PACKAGED}/content-types"/>',
        "_rels/.rels": _related([("officeDocument", "xl/workbook.xml")]),
        "xl/workbook.xml": f'<workbook {MAIN} xmlns:r="{RELATED}"><sheets>'
        + "".join(
            f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>' for n, name in enumerate(sheets, start=1)
        )
        + "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": _related(
            [*(("worksheet", f"worksheets/{name}.xml") for name in sheets), ("styles", "styles.xml")]
        ),
        "xl/styles.xml": f"<styleSheet {MAIN}><cellXfs>{FORMATS}</cellXfs></styleSheet>",
    }
    for name, rows in sheets.items():
        cells = "".join(_row(n, row) for n, row in enumerate(rows, start=1))
        parts[f"xl/worksheets/{name}.xml"] = f"<worksheet {MAIN}><sheetData>{cells}</sheetData></worksheet>"
    file = BytesIO()
    with ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return file.getvalue()


def _related(parts: list[tuple[str, str]]) -> str:
    lines = (
        f'<Relationship Id="r{n}" Type="{RELATED}/{kind}" Target="{target}"/>'
        for n, (kind, target) in enumerate(parts, start=1)
    )
    return f'<Relationships xmlns="{PACKAGED}/relationships">{"".join(lines)}</Relationships>'


def _row(number: int, row: tuple[Any, ...]) -> str:
    placed = ((f"{chr(ord('A') + n)}{number}", value) for n, value in enumerate(row) if value is not None)
    return f'<row r="{number}">{"".join(_cell(place, value) for place, value in placed)}</row>'


def _cell(place: str, value: Any) -> str:
    if isinstance(value, str):
        return f'<c r="{place}" t="inlineStr"><is><t>{escape(value)}</t></is></c>'
    if isinstance(value, bool):
        return f'<c r="{place}" t="b"><v>{int(value)}</v></c>'
    style = f' s="{DATE_STYLE}"' if isinstance(value, Day) else ""
    return f'<c r="{place}"{style}><v>{value!r}</v></c>'


def test_cells_are_read_as_their_author_typed_them(sqlite_api: Api) -> None:
    rows = [HEAD, ("7?", 7), ("0.3?", 0.1 + 0.2), (None, None), ("Large?", 1e16), ("Small?", -0.05)]
    read = examples(sqlite_api, send(sqlite_api, workbook(Sheet1=rows), kind="numeric"))
    assert [(row["id"], row["answer"]) for row in read] == [
        ("row-2", "7"),
        ("row-3", "0.3"),
        ("row-5", "10000000000000000"),
        ("row-6", "-0.05"),
    ]


def test_dates_and_truth_values_are_texts(sqlite_api: Api) -> None:
    dates = workbook(Sheet1=[HEAD, ("The day after New Year 2024?", Day(45293))])
    assert examples(sqlite_api, send(sqlite_api, dates, kind="date"))[0]["answer"] == "2024-01-02"
    truths = workbook(Sheet1=[HEAD, ("Is it?", True), ("Is it not?", False)])
    read = examples(sqlite_api, send(sqlite_api, truths, kind="exact"))
    assert [row["answer"] for row in read] == ["TRUE", "FALSE"]


def test_an_empty_option_cell_keeps_its_place_and_columns_are_mapped(sqlite_api: Api) -> None:
    rows = [("prompt", "A", "B", "C", "label"), ("Which?", "cat", None, "cow", "C")]
    columns = "question:prompt,choices:A,choices:B,choices:C,answer:label"
    [read] = examples(sqlite_api, send(sqlite_api, gzip.compress(workbook(Sheet1=rows)), map=columns))
    assert read["choices"][ord(read["answer"]) - ord("a")] == "cow"


def test_the_sheet_with_the_questions_is_found(sqlite_api: Api) -> None:
    book = workbook(About=[("Who wrote this?",)], Rows=[HEAD, ("3?", 3)], Empty=[])
    assert [row["answer"] for row in examples(sqlite_api, send(sqlite_api, book, kind="numeric"))] == ["3"]


@pytest.mark.parametrize(
    ("content", "reason", "fix"),
    [
        (workbook(One=[HEAD, ("1?", 1)], Two=[HEAD, ("2?", 2)]), "'One', 'Two'", "by themselves"),
        (workbook(Sheet1=[]), "The workbook is empty", "a question a row"),
        (workbook(Sheet1=[HEAD, ("1?", 1, "note")]), "under no name", "Name its column"),
        (workbook(Sheet1=[HEAD, ("1?", 1)])[:400] + bytes(400), "Not an Excel workbook", "Save it again"),
    ],
)
def test_a_workbook_that_cannot_be_read_says_why(
    sqlite_api: Api, content: bytes, reason: str, fix: str
) -> None:
    told = error(send(sqlite_api, content, kind="numeric"))
    assert reason in told["reason"]
    assert fix in told["fix"]


def test_a_wrong_answer_in_a_workbook_is_named_by_its_row(sqlite_api: Api) -> None:
    book = workbook(Sheet1=[HEAD, ("1?", 1), ("2?", "two or three")])
    told = error(send(sqlite_api, book, kind="numeric", format="csv"))  # what it is is certain
    assert (told["line"], told["field"]) == (3, "answer")
