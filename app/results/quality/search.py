"""Search over all texts of a project: what is found, with the words marked in a piece of the text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Query
from pydantic import Field
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.database import reading
from app.errors import BadRequest, Invalid
from app.http.schemas import Page, Resource, Text, partial_page
from app.ledger.jobs.jobs import job_with_texts
from app.ledger.jobs.lists import find_jobs, newest_jobs_on
from app.ledger.jobs.search import SECONDS, FoundIn, Hit, Spot, search_texts, spot_of, words_of
from app.ledger.jobs.search import Wanted as LookedFor
from app.tables.jobs import Job
from app.tables.rationales import Evaluation, Rationale

MAX_WORDS = 8
BEFORE, BEHIND = 60, 240  # characters of a text that are shown around the first word
Verdict = Literal["correct", "wrong", "unparsed", "ambiguous", "error"]
Marks = list[tuple[int, int]]


class SearchHitOut(Resource):
    """A text that holds all words: a rationale, an answer to a held-out question, or a question."""

    object: Literal["search_hit"] = "search_hit"
    found_in: FoundIn
    job: Annotated[
        str | None,
        Field(description="Of a question: the newest job on its dataset; null where there is none."),
    ]
    job_name: str | None
    dataset: Annotated[str, Field(description="The dataset of the example.")]
    example: Annotated[str, Field(description="The example's own id.")]
    split: Annotated[str, Field(description="train or validation.")]
    iteration: Annotated[int | None, Field(description="0 for a few-shot baseline; null for a question.")]
    mode: Annotated[str | None, Field(description="How a held-out answer was asked for; else null.")]
    verdict: str | None
    snippet: Annotated[str, Field(description="The text around the first word.")]
    marks: Annotated[
        Marks, Field(description="[start, end) of the snippet's characters that are one of the words.")
    ]


class SearchOut(Page[SearchHitOut]):
    """A page of hits. It may be empty while `has_more` is true: `last_id` is where the search goes on."""

    looked_at: Annotated[int, Field(description="Texts that this page has looked at.")]


@dataclass(frozen=True, slots=True)
class SearchWanted:
    """The search as it is sent, in a query."""

    text: Annotated[
        Text,
        Query(
            min_length=1,
            max_length=500,
            description="Words that one text must all hold, in upper or lower case; "
            'what stands in double quotes is one of them: "carry the" 1.',
        ),
    ]
    found_in: Annotated[FoundIn | None, Query(description="Only in texts of this kind.")] = None
    verdict: Annotated[Verdict | None, Query(description="Only texts with this verdict; no question.")] = None
    job: Annotated[
        str | None, Query(max_length=100, description="Only texts of this job and questions of its dataset.")
    ] = None


def search(
    db: Engine,
    project_id: str,
    wanted: SearchWanted,
    *,
    limit: int,
    after: str | None = None,
    seconds: float = SECONDS,
) -> SearchOut:
    """A page of the project's texts, newest first. Raises Invalid for too many words or none."""
    words = words_of(wanted.text)
    if not 1 <= len(words) <= MAX_WORDS:
        reason = f"The search holds {len(words)} words." if words else "The search holds no word."
        raise Invalid.for_field("text", reason, f"Send 1 to {MAX_WORDS} words, or quote a phrase.")
    with reading(db) as session:
        job = None if wanted.job is None else job_with_texts(session, project_id, wanted.job)
        looked_for = LookedFor(
            words,
            found_in=wanted.found_in,
            verdict=wanted.verdict,
            job_id=None if job is None else job.id,
            dataset_id=None if job is None else job.dataset_id,
        )
        found = search_texts(
            session, project_id, looked_for, after=_spot(after), limit=limit, seconds=seconds
        )
        rows = _shown(session, project_id, job, found.hits, words)
    last = None if found.spot is None else str(found.spot)
    page = partial_page(rows, found.spot is not None, last)
    return SearchOut(**dict(page), looked_at=found.looked_at)


def _spot(after: str | None) -> Spot | None:
    found = None if after is None else spot_of(after)
    if after is not None and found is None:
        raise BadRequest(f"{after!r} is no place of a search: send the `last_id` of the page before.")
    return found


def _shown(
    session: Session, project_id: str, job: Job | None, hits: Sequence[Hit], words: Sequence[str]
) -> list[SearchHitOut]:
    """`job`: the one that is searched; None: all are."""
    jobs = find_jobs(session, {hit.job_id for hit in hits if hit.job_id is not None})
    asked = {hit.example.dataset_id for hit in hits if hit.row is None}
    of = newest_jobs_on(session, project_id, asked) if job is None else {job.dataset_id: job}
    return [
        _out(hit, of.get(hit.example.dataset_id) if hit.row is None else jobs.get(hit.job_id or ""), words)
        for hit in hits
    ]


def _out(hit: Hit, job: Job | None, words: Sequence[str]) -> SearchHitOut:
    snippet, marks = snippet_of(hit.example.question if hit.row is None else hit.row.text, words)
    return SearchHitOut(
        id=_id(hit),
        created_at=hit.created_at,
        found_in=hit.found_in,
        job=None if job is None else job.id,
        job_name=None if job is None else job.name,
        dataset=hit.example.dataset_id,
        example=hit.example.external_id,
        split=hit.example.split,
        iteration=hit.iteration,
        mode=hit.row.mode if isinstance(hit.row, Evaluation) else None,
        verdict=None if hit.row is None else hit.row.verdict,
        snippet=snippet,
        marks=marks,
    )


def _id(hit: Hit) -> str:
    if isinstance(hit.row, Rationale):
        return f"rat_{hit.row.id}"
    return f"exm_{hit.example.id}" if hit.row is None else f"ans_{hit.row.id}"


def snippet_of(text: str, words: Iterable[str]) -> tuple[str, Marks]:
    """The text around the first of the words, and where they stand in it."""
    longest_first = sorted(words, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE)
    first = pattern.search(text)
    start = max(0, (0 if first is None else first.start()) - BEFORE)
    piece = text[start : start + BEFORE + BEHIND]
    return piece, [match.span() for match in pattern.finditer(piece)]
