"""GET /v1/jobs: filters, pages, and what a page costs."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event

from tests.app.api_harness import MODEL, Api


def ids(api: Api, **query: Any) -> list[str]:
    answer = api.client.get("/v1/jobs", params=query)
    assert answer.status_code == 200, answer.text
    return [job["id"] for job in answer.json()["data"]]


@pytest.mark.parametrize("order", ["newest", "oldest", "name"])
def test_jobs_come_in_the_order_that_was_asked_for_page_by_page(api: Api, order: str) -> None:
    made = [api.job(name=name)["id"] for name in ("beta", "Alpha", "beta", "gamma")]
    expected = {
        "newest": made[::-1],
        "oldest": made,
        "name": [made[1], made[0], made[2], made[3]],  # in any case; of one name the oldest first
    }[order]
    assert ids(api, order=order) == expected
    found: list[str] = []
    after: dict[str, str] = {}
    while page := ids(api, order=order, limit=1, **after):
        found += page
        after = {"after": page[0]}
    assert found == expected


def test_each_filter_leaves_what_fits_it(api: Api) -> None:
    red = api.job(name="Red 100%", metadata={"team": "maths", "a b": "c"})
    blue = api.job(name="blue_1", metadata={"team": "physics"})
    api.client.post(f"/v1/jobs/{red['id']}/cancel")
    both = [blue["id"], red["id"]]
    assert ids(api) == both
    assert ids(api, status="cancelled") == [red["id"]]
    assert ids(api, status=["cancelled", "queued"]) == both
    assert ids(api, model=MODEL) == both
    assert ids(api, model="other") == []
    assert ids(api, dataset=red["dataset"]) == both
    assert ids(api, dataset="ds_0") == []
    assert ids(api, name="BLUE") == [blue["id"]]
    assert ids(api, name="100%") == [red["id"]]
    assert ids(api, name="e_1") == [blue["id"]]
    assert ids(api, **{"metadata[team]": "maths"}) == [red["id"]]
    assert ids(api, **{"metadata[team]": "maths", "metadata[a b]": "c"}) == [red["id"]]
    assert ids(api, **{"metadata[team]": "maths", "metadata[a b]": "d"}) == []
    assert ids(api, **{"metadata[colour]": "red"}) == []
    assert ids(api, created_after=red["created_at"], created_before="2100-01-01T00:00:00Z")[0] == blue["id"]
    assert ids(api, created_before="2001-01-01T00:00:00Z") == []


@pytest.mark.parametrize(
    "query",
    [
        {"status": "running well"},
        {"created_after": "yesterday"},
        {"created_after": "2026-01-01T00:00:00"},
        {'metadata["]': "x"},
        {"metadata[]": "x"},
        {"metadata[\\]": "x"},
    ],
)
def test_filter_that_cannot_be_read_is_refused(sqlite_api: Api, query: dict[str, str]) -> None:
    answer = sqlite_api.client.get("/v1/jobs", params=query)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_filtered_pages_join_without_gap_or_repeat(api: Api) -> None:
    made = [api.job(name=f"job {n % 2}")["id"] for n in range(7)]
    found: list[str] = []
    query: dict[str, Any] = {"name": "job 0", "limit": 2}
    while (page := api.client.get("/v1/jobs", params=query).json())["has_more"]:
        found += [job["id"] for job in page["data"]]
        query["after"] = page["last_id"]
    found += [job["id"] for job in page["data"]]
    assert found == made[::-2]


def test_page_of_many_jobs_costs_no_more_queries_than_a_page_of_one(api: Api) -> None:
    counted: list[int] = []
    engine = api.client.app.state.engine  # type: ignore[attr-defined]  # Starlette's own application

    def costs() -> int:
        counted.clear()
        event.listen(engine, "before_cursor_execute", count)
        ids(api)
        event.remove(engine, "before_cursor_execute", count)
        return len(counted)

    def count(*_: Any) -> None:
        counted.append(1)

    api.job()
    one = costs()
    for _ in range(6):
        api.job()
    assert len(ids(api)) == 7
    assert costs() == one
