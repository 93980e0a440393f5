"""Uploading a dataset from the form: the report on one with mistakes, then the one that is right."""

from __future__ import annotations

import json
from pathlib import Path

from playwright.sync_api import expect

from tests.app.api_harness import addition_rows
from tests.browser.conftest import Visit


def test_a_dataset_is_uploaded_after_its_report_was_heeded(visit: Visit, tmp_path: Path) -> None:
    page, rows = visit.page, addition_rows(12)
    bad, good = tmp_path / "bad.jsonl", tmp_path / "good.jsonl"
    bad.write_text(rows + json.dumps({"question": "<img src=x onerror=alert(1)>"}) + "\n")
    good.write_text(rows)
    visit.open("datasets")
    page.get_by_label("Name", exact=True).fill("addition")
    page.get_by_label("Kind").select_option("scratchpad")
    page.get_by_label("Hold out").fill("4")
    page.get_by_label("File").set_input_files(bad)
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("alert")).to_contain_text("Row 13, answer")
    page.get_by_label("File").set_input_files(good)
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("heading", name="addition")).to_be_visible()
    with visit.server.client() as star:
        assert star.datasets.list().data[0].splits == {"train": 8, "validation": 4}
    assert len(visit.problems) == 1, visit.problems  # the refusal is itself a 422
    visit.problems.clear()
