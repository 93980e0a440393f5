"""The kept rationales of an iteration, the riskiest first, and what people have said of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from app.ledger.data.examples import as_example
from app.ledger.results.overrides import lineage, text_sha256
from app.tables.data import Example
from app.tables.jobs import Iteration, Job
from app.tables.overrides import Override
from app.tables.rationales import Rationale
from star_engine.diagnostics.risk import Risk, Tried, risk_of
from star_engine.sampling.rationales import Route
from star_engine.tasks.registry import task_of
from star_engine.tasks.verdict import VerdictCode

WRITTEN = (Route.GENERATED, Route.RATIONALIZED, Route.HINTED)  # by the model, not by a dataset
READ_TWICE = 500  # of the riskiest the answer is read in a second way as well: it takes their texts
AT_ONCE = 200  # rationales whose texts are loaded together


@dataclass(frozen=True, slots=True)
class Said:
    """What one person says of a text; the newest of each counts."""

    override_id: int
    reviewer: str
    who: str  # the person, or the key where there is none
    verdict: str


@dataclass(frozen=True, slots=True)
class Queued:
    """A rationale of the queue."""

    rationale: Rationale
    example: Example
    risk: Risk
    said: Sequence[Said]


@dataclass(slots=True)
class Queue:
    """Row ids of all kept rationales, the riskiest first. Reviewed ones stand in it as well."""

    risks: Mapping[int, Risk] = field(default_factory=dict)

    def after(self, last: int | None) -> list[int]:
        """The ids behind this one; None where it is none of the queue."""
        ids = list(self.risks)
        return ids if last is None else ids[ids.index(last) + 1 :]


def last_built(session: Session, job: Job) -> int | None:
    """The newest iteration that has a training set."""
    query = select(func.max(Iteration.number)).where(
        Iteration.job_id == job.id, Iteration.training_set_sha256.is_not(None)
    )
    return session.scalar(query)


def read_queue(session: Session, job: Job, iteration: Iteration) -> Queue:
    """Order the iteration's kept rationales by risk; equal ones as they were recorded."""
    tries, chance = _tries(session, job, iteration.number), _chance(iteration)
    task = task_of(job.config.kind)
    own_chance: dict[int, float] = {}
    if task.takes_choices:
        for row in _examples_kept(session, iteration):
            found = task.guess_chance(as_example(row))
            own_chance[row.id] = chance if found is None else found
    kept = select(Rationale.id, Rationale.example_id, Rationale.route).where(
        Rationale.iteration_id == iteration.id, Rationale.decision == "kept", Rationale.route.in_(WRITTEN)
    )
    risks = {
        row.id: risk_of(row.route, tries.get(row.example_id, Tried()), own_chance.get(row.example_id, chance))
        for row in session.execute(kept.order_by(Rationale.id))
    }
    head = _ordered(risks)[:READ_TWICE]
    for rationale, example in _loaded(session, head):
        opinion = task.second_opinion(as_example(example), rationale.text)
        before = risks[rationale.id]
        risks[rationale.id] = risk_of(rationale.route, before.tries, before.chance, opinion)
    return Queue({number: risks[number] for number in _ordered(risks)})


def read_open(
    session: Session, job: Job, queue: Queue, ids: Sequence[int], raters: int, but: str | None
) -> Iterator[Queued]:
    """Those of `ids` that fewer than `raters` people have judged, and that `but` has not.

    Two tries with one text are one to a reviewer: only the first of them comes.
    """
    said = _said(session, job)
    shown: set[tuple[int, str]] = set()
    for first in range(0, len(ids), AT_ONCE):
        for rationale, example in _loaded(session, ids[first : first + AT_ONCE]):
            key = (rationale.example_id, text_sha256(rationale.text))
            known = said.get(key, {})
            if key not in shown and len(known) < raters and but not in known:
                shown.add(key)
                yield Queued(rationale, example, queue.risks[rationale.id], list(known.values()))


def _tries(session: Session, job: Job, number: int) -> dict[int, Tried]:
    """By example, those without a hint up to this iteration."""
    right = func.sum(case((Rationale.verdict == VerdictCode.CORRECT, 1), else_=0))
    query = (
        select(Rationale.example_id, func.count(), right)
        .where(Rationale.job_id == job.id, Rationale.iteration_number <= number)
        .where(Rationale.route == Route.GENERATED)
        .group_by(Rationale.example_id)
    )
    return {example: Tried(made, int(correct)) for example, made, correct in session.execute(query)}


def _chance(iteration: Iteration) -> float:
    """What the iteration's audit found a guess to be worth; 0 of a job from before there was one."""
    luck = iteration.metrics.get("audits", {}).get("luck") or {}
    return float(luck.get("chance") or 0.0)


def _examples_kept(session: Session, iteration: Iteration) -> Sequence[Example]:
    kept = select(Rationale.example_id).where(
        Rationale.iteration_id == iteration.id, Rationale.decision == "kept"
    )
    return session.scalars(select(Example).where(Example.id.in_(kept))).all()


def _ordered(risks: Mapping[int, Risk]) -> list[int]:
    return sorted(risks, key=lambda number: (-risks[number].value, number))


def _loaded(session: Session, ids: Sequence[int]) -> list[tuple[Rationale, Example]]:
    query = select(Rationale, Example).join(Example, Example.id == Rationale.example_id)
    place = {number: at for at, number in enumerate(ids)}
    rows = session.execute(query.where(Rationale.id.in_(ids))).all()
    return sorted(((row[0], row[1]) for row in rows), key=lambda row: place[row[0].id])


def _said(session: Session, job: Job) -> dict[tuple[int, str], dict[str, Said]]:
    query = select(Override).where(Override.job_id.in_(lineage(session, job.id))).order_by(Override.id)
    found: dict[tuple[int, str], dict[str, Said]] = defaultdict(dict)
    for row in session.scalars(query):
        who = row.person or row.key_id
        found[row.example_id, row.text_sha256][who] = Said(row.id, row.reviewer, who, row.verdict)
    return found
