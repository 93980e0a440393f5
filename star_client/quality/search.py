"""Search over all texts of a project."""

from __future__ import annotations

from collections.abc import Iterator

from star_client.objects import Page, Resource, Timestamp
from star_client.resources import every
from star_client.transport import Request, Transport

LARGEST_PAGE = 100


class SearchHit(Resource):
    """A text that holds all words. `found_in`: rationale, answer or question.

    `marks`: [start, end) of the snippet's characters that are one of the words. `job`, of a question: the
    newest one on its dataset. `iteration`, `mode` and `verdict` are None for a question.
    """

    found_in: str
    job: str | None = None
    job_name: str | None = None
    dataset: str
    example: str
    split: str
    iteration: int | None = None
    mode: str | None = None
    verdict: str | None = None
    snippet: str
    marks: tuple[tuple[int, int], ...] = ()
    created_at: Timestamp


class SearchPage(Page[SearchHit]):
    """May be empty while there is more; `looked_at`: texts that this page has looked at."""

    looked_at: int


class Search:
    """Words in rationales, in answers to held-out questions and in questions of all jobs."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self,
        text: str,
        *,
        found_in: str | None = None,
        verdict: str | None = None,
        job: str | None = None,
        limit: int = 20,
        after: str | None = None,
    ) -> SearchPage:
        """Texts that hold all words of `text`, in upper or lower case, newest first. What stands in double
        quotes is one word. found_in: rationale, answer or question.

        The server looks for half a second a page: a page may be empty while `has_more`; `every` goes on.
        """
        params = {"text": text, "found_in": found_in, "verdict": verdict, "job": job}
        request = Request("GET", "/v1/search", {**params, "limit": limit, "after": after})
        return SearchPage.model_validate_json(self._transport.send(request).content)

    def every(self, text: str, **filters: str | None) -> Iterator[SearchHit]:
        """As `list`, over all pages."""
        return every(
            self._transport, "/v1/search", SearchHit, {"limit": LARGEST_PAGE, "text": text, **filters}
        )
