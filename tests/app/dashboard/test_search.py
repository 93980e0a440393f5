"""The page that searches all texts shows what the API finds, and leads to each of it."""

from __future__ import annotations

import re
from html import unescape

import pytest

from tests.app.dashboard.conftest import Finished


def hits(text: str) -> list[str]:
    return [unescape(link) for link in re.findall(r'<p class="signs"><a href="([^"]+)">', text)]


@pytest.mark.parametrize("found_in", ["rationale", "answer", "question"])
def test_every_hit_leads_to_the_page_that_shows_its_text(finished: Finished, found_in: str) -> None:
    word = "+" if found_in == "question" else "c:"
    page = finished.visitor.get("/search", text=word, found_in=found_in)
    found = finished.visitor.api.client.get(
        "/v1/search", params={"text": word, "found_in": found_in, "limit": 25}
    ).json()["data"]
    links = hits(page.text)
    assert page.status_code == 200, page.text
    assert len(links) == len(found) > 0
    for link, hit in zip(links[:3], found, strict=False):
        shown = finished.visitor.client.get(link.partition("#")[0])
        assert shown.status_code == 200, link
        assert hit["id"] in shown.text or found_in == "question"
    assert re.search(rf"<mark>{re.escape(word)}</mark>", page.text, re.IGNORECASE)


def test_a_search_without_words_asks_for_them_and_one_with_too_many_says_how_many(finished: Finished) -> None:
    assert "Put a phrase in double quotes" in finished.visitor.get("/search").text
    assert "No text holds this word" in finished.visitor.get("/search", text="zebra").text
    refused = finished.visitor.get("/search", text="a b c d e f g h i")
    assert refused.status_code == 422
    assert "Send 1 to 8 words" in refused.text


def test_every_page_has_the_search_and_markup_in_a_text_stays_text(finished: Finished) -> None:
    assert 'placeholder="Search all texts"' in finished.get("").text
    shown = finished.visitor.get("/search", text="+", found_in="question").text
    assert "<b>0</b>/0" not in shown
