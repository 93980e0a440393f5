"""The tab of the examples shows what the API says of them."""

from __future__ import annotations

import re
from html import unescape

from tests.app.dashboard.conftest import Finished

PLACE = "/examples"


def test_the_tab_lists_the_examples_of_the_api_under_the_same_filter(finished: Finished) -> None:
    for filters in ({}, {"state": "solved"}, {"state": "unsolved"}):
        known = finished.api(PLACE, **filters, limit=50)["data"]
        page = finished.get(PLACE, **filters).text
        table = page.partition("<tbody>")[2].partition("</tbody>")[0]
        shown = [unescape(name) for name in re.findall(r"<th scope=\"row\"><a href=[^>]*>(.*?)</a>", table)]
        assert shown == [one["id"] for one in known]
    assert len(finished.api(PLACE, limit=50)["data"]) == 16


def test_pages_follow_each_other_by_the_examples_own_ids(finished: Finished) -> None:
    whole = finished.api(PLACE, limit=100)["data"]
    first = finished.api(PLACE, limit=10)
    rest = finished.api(PLACE, limit=10, after=first["last_id"])
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert first["data"] + rest["data"] == whole
    assert all(one["win_rate"] == 1.0 for one in whole if one["right"] == one["tries"])
