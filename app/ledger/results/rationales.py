"""Tries at examples and the training sets made of them: recorded once, behind the fence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import overload

from sqlalchemy import Insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.ledger.data.examples import MAX_IN
from app.ledger.queue.steps import Claim, check_fence
from app.ledger.transitions import lock_job
from app.tables.base import Base
from app.tables.data import Example
from app.tables.jobs import Iteration
from app.tables.rationales import Rationale, TrainingExample
from star_engine.config.star import StarConfig
from star_engine.sampling import rationales as engine
from star_engine.sampling.rationales import RationaleKey, Route
from star_engine.tasks.programs.tool_use import tool_use_from, turns_as_json, turns_from
from star_engine.training_set.rows import Decision, masks_from
from star_engine.training_set.rows import TrainingExample as EngineTrainingExample
from star_engine.training_set.window import window


def claimed_iteration(session: Session, claim: Claim) -> Iteration:
    """The iteration that a claimed step belongs to."""
    query = select(Iteration).where(Iteration.job_id == claim.job_id, Iteration.number == claim.iteration)
    return session.scalars(query).one()


def insert_once(session: Session, table: type[Base]) -> Insert:
    """Return an INSERT that ignores rows whose key exists, so that repeated effects are recorded once."""
    if session.get_bind().dialect.name == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()


@overload
def storable(text: str) -> str: ...
@overload
def storable(text: None) -> None: ...
def storable(text: str | None) -> str | None:
    """What a model wrote, without the one character that PostgreSQL's text cannot hold."""
    return text if text is None else text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def recorded_verdicts(session: Session, claim: Claim, ids: Mapping[int, str]) -> dict[RationaleKey, str]:
    """Verdicts of the tries that earlier attempts at this step have recorded, without a controller's probes.

    `ids`: row id to example id.
    """
    iteration = claimed_iteration(session, claim)
    query = select(Rationale.example_id, Rationale.route, Rationale.sample, Rationale.verdict).where(
        Rationale.iteration_id == iteration.id, Rationale.route != Route.PROBE
    )
    return {
        RationaleKey(ids[example_id], route, sample): verdict
        for example_id, route, sample, verdict in session.execute(query)
        if example_id in ids
    }


def record_rationales(
    session: Session,
    claim: Claim,
    tries: Sequence[engine.Rationale],
    row_ids: Mapping[str, int],
    sampler_adapter_id: str | None,
) -> None:
    """Record tries. `row_ids`: example id to row id.

    Raises Fenced if the step is no longer this worker's.
    """
    check_fence(session, claim)
    iteration = claimed_iteration(session, claim)
    rows = [
        {
            "job_id": claim.job_id,
            "iteration_id": iteration.id,
            "iteration_number": claim.iteration,
            "example_id": row_ids[item.key.example_id],
            "route": item.key.route,
            "sample": item.key.sample,
            "text": storable(item.text),
            "extracted": storable(item.extracted),
            "verdict": item.verdict,
            "rule": item.rule,
            "prompt_tokens": item.prompt_tokens,
            "tokens": item.tokens,
            "finish_reason": item.finish_reason,
            "sampler_adapter_id": sampler_adapter_id,
            "request_sha256": item.request_sha256,
            "reused": item.reused,
            "tools": None if item.tools is None else item.tools.as_json(),
            "reward": item.reward,
        }
        for item in tries
    ]
    if rows:
        session.execute(insert_once(session, Rationale), rows)


def record_checks(session: Session, claim: Claim, found: Mapping[int, Mapping[str, bool]]) -> None:
    """Record what the checks of rationales found, by row id. Raises Fenced."""
    check_fence(session, claim)
    if found:
        rows = [{"id": row_id, "checks": dict(results)} for row_id, results in found.items()]
        session.execute(update(Rationale), rows)


def record_rewards(session: Session, claim: Claim, found: Mapping[int, float]) -> None:
    """Record what a controller's scorer says of rationales, by row id. Raises Fenced."""
    check_fence(session, claim)
    if found:
        session.execute(update(Rationale), [{"id": one, "reward": reward} for one, reward in found.items()])


def record_readings(session: Session, claim: Claim, found: Mapping[int, Sequence[tuple[int, float]]]) -> None:
    """Record how likely the answers of rationales are after each sentence, by row id. Raises Fenced."""
    check_fence(session, claim)
    if found:
        rows = [{"id": one, "reading": [list(point) for point in points]} for one, points in found.items()]
        session.execute(update(Rationale), rows)


def iteration_tries(
    session: Session, claim: Claim, examples: Sequence[int] | None = None, *, probes: bool = False
) -> Iterator[tuple[int, engine.Rationale]]:
    """Every try of the claimed iteration, or every probe, with its row id, by example, route and sample.

    `examples`: row ids that it is narrowed to; a few, for each becomes a parameter.
    """
    iteration = claimed_iteration(session, claim)
    query = (
        select(Rationale, Example.external_id)
        .join(Example, Example.id == Rationale.example_id)
        .where(Rationale.iteration_id == iteration.id)
        .order_by(Example.position, Rationale.route, Rationale.sample)
    )
    query = query.where((Rationale.route == Route.PROBE) if probes else (Rationale.route != Route.PROBE))
    if examples is not None:
        query = query.where(Rationale.example_id.in_(examples))
    for row, external_id in session.execute(query):
        yield row.id, as_rationale(row, external_id)


def as_rationale(row: Rationale, external_id: str) -> engine.Rationale:
    """A row as the engine reads it; `external_id`: its example's own id."""
    return engine.Rationale(
        key=RationaleKey(external_id, row.route, row.sample),
        text=row.text,
        verdict=row.verdict,
        extracted=row.extracted,
        rule=row.rule,
        prompt_tokens=row.prompt_tokens,
        tokens=row.tokens,
        finish_reason=row.finish_reason,  # type: ignore[arg-type]  # written by record_rationales only
        checks=row.checks,
        tools=tool_use_from(row.tools),
        reward=row.reward,
    )


def record_training_set(
    session: Session,
    claim: Claim,
    row_ids: Mapping[RationaleKey, int],
    decisions: Sequence[Decision],
    rows: Sequence[EngineTrainingExample],
    sha256: str,
    diagnosis: str | None,
) -> None:
    """Record what was kept and dropped and why, and the rows that will be trained on.

    Raises Fenced; raises RuntimeError if an earlier attempt recorded another training set for this iteration.
    """
    lock_job(session, claim.job_id)  # finish_step, in this transaction too, wants it before the step
    check_fence(session, claim)
    iteration = claimed_iteration(session, claim)
    if iteration.training_set_sha256 not in (None, sha256):
        raise RuntimeError(f"training set {sha256} differs from the recorded {iteration.training_set_sha256}")
    _decide(session, row_ids, decisions)
    values = [
        {
            "iteration_id": iteration.id,
            "rationale_id": row_ids[row.key],
            "position": position,
            "prompt": row.prompt,
            "completion": row.completion,
            "masked": [list(span) for span in row.masked] or None,
            "turns": turns_as_json(row.turns) or None,
        }
        for position, row in enumerate(rows)
    ]
    if values:
        session.execute(insert_once(session, TrainingExample), values)
    iteration.training_set_sha256 = sha256
    if diagnosis is not None:
        iteration.metrics = {**iteration.metrics, "diagnosis": diagnosis}


def _decide(session: Session, row_ids: Mapping[RationaleKey, int], decisions: Sequence[Decision]) -> None:
    """A statement per reason and MAX_IN rows, not one per row."""
    alike: dict[tuple[bool, str], list[int]] = {}
    for item in decisions:
        alike.setdefault((item.kept, item.reason), []).append(row_ids[item.key])
    for (kept, reason), ids in alike.items():
        decided = update(Rationale).values(decision="kept" if kept else "dropped", reason=reason)
        for first in range(0, len(ids), MAX_IN):
            some = Rationale.id.in_(ids[first : first + MAX_IN])
            session.execute(decided.where(some), execution_options={"synchronize_session": False})


def training_rows(session: Session, iteration_id: int) -> Iterator[tuple[TrainingExample, Rationale, str]]:
    """The training set in order, each row with its rationale and its example's id."""
    query = (
        select(TrainingExample, Rationale, Example.external_id)
        .join(Rationale, Rationale.id == TrainingExample.rationale_id)
        .join(Example, Example.id == Rationale.example_id)
        .where(TrainingExample.iteration_id == iteration_id)
        .order_by(TrainingExample.position)
        .execution_options(yield_per=1000)
    )
    yield from session.execute(query)


def trained_rows(session: Session, iteration_id: int) -> list[EngineTrainingExample]:
    """The training set of an iteration as the engine reads it."""
    return [
        EngineTrainingExample(
            RationaleKey(name, made.route, made.sample),
            row.prompt,
            row.completion,
            masked=masks_from(row.masked or ()),
            turns=turns_from(row.turns or ()),
        )
        for row, made, name in training_rows(session, iteration_id)
    ]


def find_rationale(session: Session, job_id: str, rationale_id: int) -> tuple[Rationale, Example] | None:
    query = (
        select(Rationale, Example)
        .join(Example, Example.id == Rationale.example_id)
        .where(Rationale.job_id == job_id, Rationale.id == rationale_id)
    )
    return session.execute(query).one_or_none()


def training_row_of(session: Session, rationale_id: int) -> TrainingExample | None:
    query = select(TrainingExample).where(TrainingExample.rationale_id == rationale_id)
    return session.scalars(query).one_or_none()


def trained_in(session: Session, job_id: str, number: int, config: StarConfig) -> list[int]:
    """The iterations that train on the training set of iteration `number`, among those that have one.

    Within a window of several, a row whose text came again later is trained on once, as the newest.
    """
    query = select(Iteration.number).where(
        Iteration.job_id == job_id, Iteration.number >= number, Iteration.training_set_sha256.is_not(None)
    )
    found = session.scalars(query.order_by(Iteration.number))
    return [later for later in found if number in window(config, later)]
