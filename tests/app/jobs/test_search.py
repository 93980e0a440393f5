"""Search over all texts of a project: what it finds, in which order, and what it never shows."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, update

from app.database import clock, transaction
from app.ledger.jobs import search as ledger_search
from app.results.quality.search import SearchWanted, search, snippet_of
from app.tables.jobs import Job
from app.tables.platform import Project
from app.tables.rationales import Evaluation, Rationale
from tests.app.api_harness import Api
from tests.app.jobs.test_report import PHASES, Written


@pytest.fixture
def jobs(api: Api) -> list[str]:
    """Two jobs on one dataset, the older one first, each of 2 iterations with 2 tries and 4 answers."""
    ids = [api.job(name=name, config={"iterations": 2, "seed": seed})["id"] for seed, name in enumerate("ab")]
    with transaction(api.engine) as session:
        for job_id in ids:
            rows = Written(session, session.get_one(Job, job_id))
            for number in (1, 2):
                iteration = rows.iteration(number, PHASES, {})
                rows.sample(iteration, "generated", ["correct", "wrong"])
                rows.evaluate(iteration, "adapter", [0])
            session.flush()
            for text in session.scalars(select(Rationale).where(Rationale.job_id == job_id)):
                text.text = f"We Carry the {text.iteration_number} of job {job_id}. 100% sure_"
            for answer in session.scalars(select(Evaluation)):
                answer.text = answer.text or f"carry held out of {job_id}"
    return ids


def find(api: Api, text: str, **params: Any) -> list[dict[str, Any]]:
    """All pages."""
    found = list[dict[str, Any]]()
    while True:
        answer = api.client.get("/v1/search", params={"text": text, **params})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["data"]
        if not page["has_more"]:
            return found
        params["after"] = page["last_id"]


def test_words_are_found_in_every_kind_of_text_newest_first(api: Api, jobs: list[str]) -> None:
    older, newer = jobs
    found = find(api, "CARRY", limit=7)
    assert [(hit["found_in"], hit["job"]) for hit in found] == [
        *[("answer", newer)] * 8,
        *[("rationale", newer)] * 4,
        *[("answer", older)] * 8,
        *[("rationale", older)] * 4,
    ]
    assert [hit["iteration"] for hit in found[:12]] == [2] * 4 + [1] * 4 + [2, 2, 1, 1]
    assert len({hit["id"] for hit in found}) == len(found)
    one = found[8]
    assert (one["job_name"], one["mode"], one["split"]) == ("b", None, "train")
    assert [one["snippet"][start:end] for start, end in one["marks"]] == ["Carry"]


def test_all_words_count_a_phrase_is_one_and_no_sign_is_special(api: Api, jobs: list[str]) -> None:
    assert len(find(api, "the carry", found_in="rationale")) == 8
    assert find(api, '"the carry"') == []
    assert len(find(api, '"carry the 2" 100%')) == 4
    assert find(api, "1%0") == []
    assert find(api, "sure-") == []
    assert len(find(api, "sure_", job=jobs[0])) == 4


def test_filters_narrow_the_texts(api: Api, jobs: list[str]) -> None:
    right = find(api, "carry", verdict="correct", job=jobs[1])
    assert [(hit["found_in"], hit["verdict"]) for hit in right] == [
        *[("answer", "correct")] * 2,
        *[("rationale", "correct")] * 2,
    ]
    assert len(find(api, "carry", found_in="answer", verdict="wrong")) == 12


def test_questions_are_found_once_and_lead_to_the_newest_job(api: Api, jobs: list[str]) -> None:
    [row, *_] = api.client.get(f"/v1/datasets/{api.dataset()['id']}/examples").json()["data"]
    found = find(api, f'"{row["question"]}"', found_in="question")
    assert [(hit["example"], hit["job"]) for hit in found if hit["snippet"] == row["question"]] == [
        (row["id"], jobs[1])
    ]
    assert find(api, f'"{row["question"]}"', found_in="question", verdict="correct") == []


def test_a_page_that_has_no_time_still_comes_further(
    api: Api, jobs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_search, "SCANNED", 3)
    with transaction(api.engine) as session:
        project = session.scalars(select(Project.id).where(Project.name == "owner")).one()
    pages, after = list[Any](), None
    while not pages or pages[-1].has_more:
        wanted = SearchWanted(text="carry")
        pages.append(search(api.engine, project, wanted, limit=100, after=after, seconds=0))
        after = pages[-1].last_id
    assert all(page.looked_at <= 3 for page in pages)
    assert [hit.id for page in pages for hit in page.data] == [hit["id"] for hit in find(api, "carry")]


def test_nothing_of_another_project_is_found_nor_reached_by_a_place_in_it(api: Api, jobs: list[str]) -> None:
    first = api.client.get("/v1/search", params={"text": "carry", "limit": 1}).json()
    for place in ({}, {"after": first["last_id"]}):
        page = api.client.get("/v1/search", params={"text": "carry", **place}, headers=api.other)
        assert (page.json()["data"], page.json()["looked_at"]) == ([], 0)
    one = api.client.get("/v1/search", params={"text": "carry", "job": jobs[0]}, headers=api.other)
    assert one.status_code == 404


def test_texts_that_were_deleted_or_removed_do_not_appear(api: Api, jobs: list[str]) -> None:
    older, newer = jobs
    with transaction(api.engine) as session:
        session.execute(update(Job).where(Job.id == newer).values(deleted_at=clock()))
    assert {hit["job"] for hit in find(api, "carry")} == {older}
    with transaction(api.engine) as session:
        session.execute(update(Job).where(Job.id == older).values(texts_removed_at=clock()))
    assert find(api, "carry") == []
    assert api.client.get("/v1/search", params={"text": "carry", "job": older}).status_code == 410


@pytest.mark.parametrize(
    "after", ["rat_1", "job_x.rationales.y", "job_x.answers", "ds_x.rationales.1", "job_x"]
)
def test_a_place_that_no_page_has_given_is_refused(sqlite_api: Api, after: str) -> None:
    answer = sqlite_api.client.get("/v1/search", params={"text": "x", "after": after})
    assert answer.status_code == 400
    assert "last_id" in answer.json()["detail"]


@pytest.mark.parametrize("text", ["   ", "a b c d e f g h i"])
def test_no_word_and_too_many_are_refused_with_the_fix(sqlite_api: Api, text: str) -> None:
    answer = sqlite_api.client.get("/v1/search", params={"text": text})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["fix"] == "Send 1 to 8 words, or quote a phrase."


def test_a_snippet_begins_shortly_before_the_first_word() -> None:
    text = f"{'x' * 500} needle {'y' * 500} Needle"
    snippet, marks = snippet_of(text, ["needle"])
    assert len(snippet) == 300
    assert [snippet[start:end] for start, end in marks] == ["needle"]
