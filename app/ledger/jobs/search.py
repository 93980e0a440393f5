"""Words in all texts of a project, newest first, without a text index.

Jobs and datasets are gone through from the newest: of a job the held-out answers, iteration by iteration from
the last, and then the rationales; of a dataset the questions. Each is a walk of an index, and the texts of
SCANNED rows of it are looked at by one query (docs/decisions/0011). A page ends where it is full or its time
is over, and says where the next one goes on.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from heapq import merge
from typing import Any, cast

from sqlalchemy import ColumnElement, Select, and_, func, select, tuple_
from sqlalchemy.orm import Session

from app.ledger.jobs.lists import NOT_LISTED
from app.ledger.keyset import LAST, walk_back
from app.tables.data import Dataset, Example
from app.tables.jobs import Iteration, Job
from app.tables.rationales import Evaluation, Rationale

SCANNED = 500  # texts that one query looks through
SECONDS = 0.5  # that a page looks for
SOURCES = 100  # jobs or datasets whose ids are read at once
_WORDS = re.compile(r'"([^"]+)"|(\S+)')
_NUMBER = r"(\d{1,18})"
_SPOT = re.compile(
    rf"(job|ds)_(\w+)\.(answers|rationales|questions)(?:\.{_NUMBER})?(?:\.([\w/]+)\.{_NUMBER})?"
)


class FoundIn(StrEnum):
    """What kind of text holds the words."""

    ANSWER = "answer"
    RATIONALE = "rationale"
    QUESTION = "question"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for; None means any."""

    words: tuple[str, ...]  # all of them stand in the text, in upper or lower case
    found_in: FoundIn | None = None
    verdict: str | None = None
    job_id: str | None = None
    dataset_id: str | None = None  # of that job


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a page goes on: a walk, and the place in it behind which nothing has been looked at."""

    source: str  # id of a job or a dataset
    texts: str  # answers | rationales | questions
    iteration_id: int | None = None  # of answers
    place: tuple[Any, ...] = ()  # of answers (mode, example id), else (row id,); empty: its beginning

    def __str__(self) -> str:
        parts = [self.source, self.texts, *([] if self.iteration_id is None else [self.iteration_id])]
        return ".".join(map(str, [*parts, *self.place]))

    def behind(self, row: Sequence[Any]) -> Spot:
        """The spot behind a row that was looked at: row id, of answers their place, and whether it holds."""
        return replace(self, place=tuple(row[1:-1]) or (row[0],))


@dataclass(frozen=True, slots=True)
class Hit:
    """A row that holds the words: a Rationale, an Evaluation or, of a question, None."""

    found_in: FoundIn
    row: Rationale | Evaluation | None
    example: Example
    created_at: datetime  # of a question: its dataset's
    job_id: str | None = None
    iteration: int | None = None


@dataclass(frozen=True, slots=True)
class Searched:
    hits: Sequence[Hit]
    looked_at: int  # texts
    spot: Spot | None  # None: all has been looked at


def words_of(text: str) -> tuple[str, ...]:
    """The words that are looked for; what stands in double quotes is one of them."""
    return tuple(quoted or word for quoted, word in _WORDS.findall(text))


def spot_of(text: str) -> Spot | None:
    """The spot that was written like this; None: it is none."""
    match = _SPOT.fullmatch(text)
    if match is None:
        return None
    source, texts, number = f"{match[1]}_{match[2]}", match[3], match[4]
    if texts != "answers":
        wrong = match[5] is not None or (texts == "questions") is not (match[1] == "ds")
        return None if wrong else Spot(source, texts, place=() if number is None else (int(number),))
    if match[1] != "job" or number is None:
        return None
    return Spot(source, texts, int(number), () if match[5] is None else (match[5], int(match[6])))


def search_texts(
    session: Session, project_id: str, wanted: Wanted, *, after: Spot | None, limit: int, seconds: float
) -> Searched:
    """At most `limit` texts of the project that hold all words, from `after` on, in some `seconds` at most.

    One query is made however few the seconds, so that every page comes further.
    """
    ends = time.monotonic() + seconds
    found: list[tuple[str, int]] = []
    looked_at = 0
    walks = _walks(session, project_id, wanted, after)
    first = spot = next(walks, None)
    while spot is not None:
        if spot is not first and time.monotonic() > ends:
            break
        rows = session.execute(_looked_at(session, wanted, spot)).all()
        for row in rows:
            looked_at += 1
            found += [(spot.texts, row[0])] if row[-1] else []
            if len(found) == limit:
                return Searched(_hits(session, found), looked_at, spot.behind(row))
        spot = spot.behind(rows[-1]) if len(rows) == SCANNED else next(walks, None)
    return Searched(_hits(session, found), looked_at, spot)


def _walks(session: Session, project_id: str, wanted: Wanted, after: Spot | None) -> Iterator[Spot]:
    """The beginning of each walk from the newest source on; the first one is `after` itself."""
    for source in _sources(session, project_id, wanted, after):
        spots = _of_dataset(wanted, source) if source.startswith("ds_") else _of_job(session, wanted, source)
        here = after is not None and after.source == source
        for spot in spots:
            if not here or after is None:
                yield spot
            elif (spot.texts, spot.iteration_id) == (after.texts, after.iteration_id):
                yield after
                here = False


def _of_dataset(wanted: Wanted, dataset_id: str) -> Iterator[Spot]:
    if wanted.found_in in (None, FoundIn.QUESTION) and wanted.verdict is None:
        yield Spot(dataset_id, "questions")


def _of_job(session: Session, wanted: Wanted, job_id: str) -> Iterator[Spot]:
    if wanted.found_in in (None, FoundIn.ANSWER):
        query = select(Iteration.id).where(Iteration.job_id == job_id).order_by(Iteration.number.desc())
        for iteration_id in session.scalars(query).all():
            yield Spot(job_id, "answers", iteration_id)
    if wanted.found_in in (None, FoundIn.RATIONALE):
        yield Spot(job_id, "rationales")


def _sources(session: Session, project_id: str, wanted: Wanted, after: Spot | None) -> Iterator[str]:
    """Ids of the jobs that have texts and of the datasets, the newest first: ids sort by time."""
    jobs = select(Job.id).where(Job.project_id == project_id, Job.texts_removed_at.is_(None))
    jobs = jobs.where(Job.purpose.not_in(NOT_LISTED))
    datasets = select(Dataset.id).where(Dataset.project_id == project_id, Dataset.staged_until.is_(None))
    if wanted.job_id is not None:
        jobs, datasets = jobs.where(Job.id == wanted.job_id), datasets.where(Dataset.id == wanted.dataset_id)
    begin = "~" if after is None else _age(after.source)
    walks = (
        _newest(session, jobs, Job.id, f"job_{begin}"),
        _newest(session, datasets, Dataset.id, f"ds_{begin}"),
    )
    return merge(*walks, key=_age, reverse=True)


def _age(source: str) -> str:
    return source.partition("_")[2]


def _newest(session: Session, query: Select[Any], column: Any, begin: str) -> Iterator[str]:
    """The ids up to `begin`, descending; read in portions, as they are consumed."""
    query = query.order_by(column.desc()).limit(SOURCES)
    ids = session.scalars(query if begin.endswith("~") else query.where(column <= begin)).all()
    while ids:
        yield from ids
        ids = session.scalars(query.where(column < ids[-1])).all() if len(ids) == SOURCES else []


def _looked_at(session: Session, wanted: Wanted, spot: Spot) -> Select[Any]:
    """The next rows of a walk: row id, of answers their place, and whether each holds what is wanted."""
    if spot.texts == "answers":
        holds = _holds(session, wanted, Evaluation.text, Evaluation.verdict)
        columns: Any = select(Evaluation.id, Evaluation.mode, Evaluation.example_id, holds)
        place = tuple_(Evaluation.mode, Evaluation.example_id)
        here = [Evaluation.iteration_id == spot.iteration_id, *([place < spot.place] if spot.place else [])]
        ordered = columns.where(*here).order_by(Evaluation.mode.desc(), Evaluation.example_id.desc())
        return cast(Select[Any], ordered.limit(SCANNED))
    before = spot.place[0] if spot.place else LAST
    if spot.texts == "questions":
        return _walked(
            walk_back(session, [(Example.dataset_id, spot.source)], Example.id, before),
            Example,
            _holds(session, wanted, Example.question),
        )
    place_of = [(Rationale.job_id, spot.source)]
    if wanted.verdict is not None:
        place_of.append((Rationale.verdict, wanted.verdict))
    return _walked(
        walk_back(session, place_of, Rationale.id, before),
        Rationale,
        _holds(session, wanted, Rationale.text),
    )


def _walked(
    ids: Select[Any], table: type[Rationale] | type[Example], holds: ColumnElement[bool]
) -> Select[Any]:
    part = ids.limit(SCANNED).subquery()
    return select(part.c.id, holds).join(table, table.id == part.c.id).order_by(part.c.id.desc())


def _holds(session: Session, wanted: Wanted, text: Any, verdict: Any = None) -> ColumnElement[bool]:
    """Case is that of the database: SQLite knows it of ASCII alone."""
    place = func.strpos if session.get_bind().dialect.name == "postgresql" else func.instr
    found = [place(func.lower(text), func.lower(word)) > 0 for word in wanted.words]
    return and_(*found, *([] if verdict is None or wanted.verdict is None else [verdict == wanted.verdict]))


def _hits(session: Session, found: Sequence[tuple[str, int]]) -> list[Hit]:
    """The rows behind the ids, in the same order."""
    readers: dict[str, Callable[[Session, list[int]], dict[int, Hit]]] = {
        "answers": _answers,
        "rationales": _rationales,
        "questions": _questions,
    }
    rows = {
        texts: read(session, [row for kind, row in found if kind == texts]) for texts, read in readers.items()
    }
    return [rows[texts][row_id] for texts, row_id in found if row_id in rows[texts]]


def _rationales(session: Session, ids: list[int]) -> dict[int, Hit]:
    query = select(Rationale, Example).join(Example, Example.id == Rationale.example_id)
    return {
        row.id: Hit(FoundIn.RATIONALE, row, example, row.created_at, row.job_id, row.iteration_number)
        for row, example in session.execute(query.where(Rationale.id.in_(ids)))
    }


def _answers(session: Session, ids: list[int]) -> dict[int, Hit]:
    query = select(Evaluation, Example, Iteration.job_id, Iteration.number)
    query = query.join(Example, Example.id == Evaluation.example_id)
    query = query.join(Iteration, Iteration.id == Evaluation.iteration_id).where(Evaluation.id.in_(ids))
    return {
        row.id: Hit(FoundIn.ANSWER, row, example, row.created_at, job_id, number)
        for row, example, job_id, number in session.execute(query)
    }


def _questions(session: Session, ids: list[int]) -> dict[int, Hit]:
    query = select(Example, Dataset.created_at).join(Dataset, Dataset.id == Example.dataset_id)
    return {
        example.id: Hit(FoundIn.QUESTION, None, example, created_at)
        for example, created_at in session.execute(query.where(Example.id.in_(ids)))
    }
