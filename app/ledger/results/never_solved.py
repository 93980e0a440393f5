"""Train examples that a job never solved without a hint: to look at, or to train on as a dataset."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from tempfile import TemporaryFile

from sqlalchemy import Engine, Select, exists, select

from app.database import reading
from app.errors import Conflict
from app.intake.lines import COLUMNS, line_of
from app.intake.uploaded_file import CheckedFile, HowToRead
from app.ledger.data.staging import store_dataset
from app.tables.base import JsonObject
from app.tables.data import Dataset, Example
from app.tables.jobs import Job
from app.tables.rationales import Rationale
from star_engine.sampling.rationales import Route

PAGE = 500  # examples per transaction: a slow reader must not hold one open


def each_never_solved(engine: Engine, job: Job) -> Iterator[Example]:
    """Yield unsolved examples in the order of the dataset; for a running job, those tried so far."""
    yield from _each(engine, _never_solved(job))


def derive_dataset(engine: Engine, job: Job, name: str, *, held_out: bool) -> tuple[Dataset, bool]:
    """A dataset of what the job never solved, and whether it is new.

    held_out: with the examples of the other splits, so that accuracy is measured on the same ones.
    Conflict where the job has solved everything that it tried.
    """
    with reading(engine) as session:
        source = session.get_one(Dataset, job.dataset_id)
    digest, sizes, splits = hashlib.sha256(), 0, Counter[str]()
    with TemporaryFile() as accepted:
        for row in _derived_rows(engine, job, held_out=held_out):
            line = line_of({name: getattr(row, name) for name in COLUMNS} | {"position": splits[row.split]})
            digest.update(line)
            sizes += accepted.write(line)
            splits[row.split] += 1
        if not splits["train"]:
            raise Conflict("The job has solved every example that it has tried.", code="nothing_unsolved")
        accepted.seek(0)
        checked = CheckedFile(
            how=HowToRead(source.kind, 0, 0),
            sha256=hashlib.sha256(f"derived:{source.sha256}:{digest.hexdigest()}".encode()).hexdigest(),
            size_bytes=sizes,
            splits=dict(splits),
            statistics=None,
            accepted=accepted,
        )
        lineage: JsonObject = {"job": job.id, "dataset": source.id, "selection": "never_solved"}
        return store_dataset(engine, job.project_id, name, checked, derived_from=lineage)


def _derived_rows(engine: Engine, job: Job, *, held_out: bool) -> Iterator[Example]:
    yield from each_never_solved(engine, job)
    if held_out:
        others = select(Example).where(Example.dataset_id == job.dataset_id, Example.split != "train")
        yield from _each(engine, others)


def _never_solved(job: Job) -> Select[Example]:
    """Select by the verifier's verdicts: overrides change what is trained on, not what was solved."""
    tried = exists().where(
        Rationale.example_id == Example.id,
        Rationale.job_id == job.id,
        Rationale.route == Route.GENERATED,
    )
    solved = tried.where(Rationale.verdict == "correct")
    of_dataset = (Example.dataset_id == job.dataset_id, Example.split == "train")
    return select(Example).where(*of_dataset, tried, ~solved)


def _each(engine: Engine, query: Select[Example]) -> Iterator[Example]:
    after = 0
    while True:
        with reading(engine) as session:
            rows = session.scalars(query.where(Example.id > after).order_by(Example.id).limit(PAGE)).all()
        yield from rows
        if len(rows) < PAGE:
            return
        after = rows[-1].id
