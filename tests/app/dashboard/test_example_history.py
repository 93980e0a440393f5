"""One example over the iterations: what is marked is what differs."""

from __future__ import annotations

import re
from urllib.parse import quote

from app.dashboard.results.example_history import columns_of
from app.results.rationales import RationaleOut
from tests.app.dashboard.conftest import Finished


def test_an_example_stands_side_by_side_with_its_differences_marked(finished: Finished) -> None:
    hinted = finished.api("/rationales", route="rationalized", decision="kept", limit=1)["data"][0]
    name = hinted["example"]["id"]
    tries = finished.api(f"/examples/{quote(name, safe='')}/history")["data"]
    page = finished.get(f"/examples/{quote(name, safe='')}").text
    columns = columns_of([RationaleOut.model_validate(one) for one in tries])
    assert re.findall(r'<h3 id="iteration-(\d+)"', page) == [str(number) for number, _ in columns]
    assert page.count("hint shown") == sum(one["route"] == "rationalized" for one in tries)
    for one in tries:
        assert f">{one['id']}</a>" in page
    changed = next(one for _, column in columns for one in column if one.found.id == hinted["id"])
    assert changed.against == "the try without the hint"
    assert changed.text is not None
    assert "".join(part.text for part in changed.text if part.mark != "removed") == hinted["text"]
    assert page.count("<ins>") > 1  # the legend's, and those in the texts


def test_an_unknown_example_is_not_found(finished: Finished) -> None:
    assert finished.get("/examples/none").status_code == 404
