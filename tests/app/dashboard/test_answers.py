"""The tab of held-out answers shows what the API answers under the same filters."""

from __future__ import annotations

import re

from tests.app.dashboard.conftest import Finished

PLACE = "/answers"


def shown(text: str) -> list[str]:
    return re.findall(r'<article class="card" id="(ans_\d+)"', text)


def test_the_tab_lists_the_answers_of_the_api(finished: Finished) -> None:
    for filters in ({}, {"iteration": "0", "verdict": "wrong"}, {"iteration": "1", "changed": "gained"}):
        found = finished.api(PLACE, **filters, limit=25)
        assert shown(finished.get(PLACE, **filters).text) == [row["id"] for row in found["data"]]
        assert found["data"]


def test_the_overview_leads_to_the_answers_and_empty_fields_filter_nothing(finished: Finished) -> None:
    assert f'/dashboard/jobs/{finished.job}/answers"' in finished.get("").text
    blank = finished.get(PLACE, iteration="", mode="", verdict="", changed="", against="", example="")
    assert shown(blank.text) == shown(finished.get(PLACE).text)


def test_a_gained_answer_is_marked_and_stands_beside_the_one_before(finished: Finished) -> None:
    page = finished.get(PLACE, iteration="1", changed="gained").text
    assert '<span class="badge helped">gained</span>' in page
    assert any(f"Compared with this answer ({verdict})" in page for verdict in ("wrong", "unparsed"))
