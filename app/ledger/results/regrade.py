"""Re-reads the tries of an iteration in parts to judge them again; nothing is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Engine, exists, func, select
from sqlalchemy.orm import Session

from app.database import reading
from app.errors import Conflict, Invalid, NotFound
from app.ledger.data.chat_templates import prompt_set_of
from app.ledger.data.examples import load_examples
from app.ledger.queue.waves import asked_positions
from app.ledger.results.iterations import config_of
from app.ledger.results.mixing import DatasetMix
from app.ledger.results.rationales import as_rationale
from app.tables.jobs import Iteration, Job
from app.tables.rationales import Rationale
from star_engine.config.star import StarConfig
from star_engine.loop import PhaseName
from star_engine.sampling import rationales as engine
from star_engine.sampling.rationales import Route
from star_engine.tasks.examples import Example
from star_engine.training_set.mixing import mix_all
from star_engine.training_set.regrade import Change, Regrading

PART = 250  # examples that are held in memory at once, with all tries at them
MAX_TRIES = 100_000  # that one request judges again: 11 s of CPU for scratchpads of 3 digits


@dataclass(frozen=True, slots=True)
class Regraded:
    """What would become of one iteration."""

    iteration: Iteration
    found: Regrading


@dataclass(slots=True)
class ChangedPage:
    """The first `limit` changes after the rationale with the row id `after` (None: from the beginning)."""

    limit: int
    after: int | None
    rows: list[tuple[int, int, Change]] = field(default_factory=list)  # row id, number of the iteration
    has_more: bool = False

    def offer(self, row_id: int, iteration: int, change: Change) -> None:
        if self.after is not None:
            self.after = None if row_id == self.after else self.after
        elif len(self.rows) < self.limit:
            self.rows.append((row_id, iteration, change))
        else:
            self.has_more = True


def iterations_to_regrade(session: Session, job: Job, number: int | None) -> Sequence[Iteration]:
    """The iteration of this number, or all (None) whose training set has been built.

    Raises NotFound, Conflict where it has not been built, Invalid where they hold too many tries.
    """
    query = select(Iteration).where(Iteration.job_id == job.id, Iteration.number > 0)
    found = session.scalars(query.order_by(Iteration.number)).all()
    chosen = [item for item in found if number in (None, item.number)]
    if number is not None and not chosen:
        raise NotFound(f"The job {job.id} has no iteration {number}.")
    built = [item for item in chosen if PhaseName.BUILD in item.phases_done]
    if not built:
        raise Conflict("No training set has been built yet, so there is nothing to hold another against.")
    ids = [item.id for item in built]
    counted = select(func.count()).where(Rationale.iteration_id.in_(ids), Rationale.route != Route.PROBE)
    tries = session.scalar(counted) or 0
    if tries > MAX_TRIES:
        fix = "Name one iteration." if len(built) > 1 else "Fork from the iteration before instead."
        reason = f"There are {tries:,} tries; at most {MAX_TRIES:,} are judged again in one request."
        raise Invalid(f"{reason} {fix}", code="too_many_tries")
    return built


def regrade_iteration(
    db: Engine, job: Job, iteration: Iteration, judging: StarConfig, building: StarConfig, page: ChangedPage
) -> Regraded:
    """Judge and decide again, PART examples per transaction, and return the changes."""
    with reading(db) as session:
        prompt_set = prompt_set_of(session, job, building)
        config, number = config_of(job, iteration), iteration.number
        positions = sorted(asked_positions(session, job.id, job.dataset_id, config, number))
        of_hints = exists().where(Rationale.iteration_id == iteration.id, Rationale.route == Route.HINTED)
        hinted = bool(session.scalar(select(of_hints)))
    found = Regrading(judging, building, prompt_set, hinted)
    for some in (positions[first : first + PART] for first in range(0, len(positions), PART)):
        with reading(db) as session:
            examples, tries = _part(session, job, iteration, some)
        row_ids = {made.key: row_id for row_id, made, _ in tries}
        for change in found.add(examples, [(made, decision) for _, made, decision in tries]):
            page.offer(row_ids[change.key], iteration.number, change)
    with reading(db) as session:
        own = sum(found.kept.values())
        for mixed in mix_all(building, prompt_set, iteration.number, own, DatasetMix(session)):
            found.count(mixed.rows)
    return Regraded(iteration, found)


def _part(
    session: Session, job: Job, iteration: Iteration, positions: Sequence[int]
) -> tuple[list[Example], list[tuple[int, engine.Rationale, str | None]]]:
    loaded = load_examples(session, job.dataset_id, "train", positions)
    return [item for _, item in loaded], list(_tries(session, iteration, {n: item.id for n, item in loaded}))


def _tries(
    session: Session, iteration: Iteration, names: Mapping[int, str]
) -> Iterator[tuple[int, engine.Rationale, str | None]]:
    query = select(Rationale).where(
        Rationale.iteration_id == iteration.id,
        Rationale.example_id.in_(list(names)),
        Rationale.route != Route.PROBE,
    )
    for row in session.scalars(query):
        yield row.id, as_rationale(row, names[row.example_id]), row.reason
