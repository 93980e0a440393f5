"""Filtered pages of rationales: the right rows, found by an index, in order, without a sort."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, func, insert, select, text, update
from sqlalchemy.orm import Session

from app.database import reading, transaction
from app.ledger.results import rationale_pages
from app.ledger.results.rationale_outcomes import outcomes_of
from app.ledger.results.rationale_pages import RationaleFilter, bounds_of, rationale_page, walks_of
from app.tables.data import Example
from app.tables.jobs import Iteration
from app.tables.rationales import Rationale
from star_engine.sampling.rationales import Route
from tests.factories import World, make_world

REASONS = ("kept", "wrong", "unparsed")
FILTERS = [
    RationaleFilter(),
    RationaleFilter(route=Route.RATIONALIZED),
    RationaleFilter(verdict="correct"),
    RationaleFilter(decision="kept"),
    RationaleFilter(reason="wrong"),
    RationaleFilter(example=1),
    RationaleFilter(route=Route.GENERATED, verdict="unparsed", decision="dropped", reason="unparsed"),
    RationaleFilter(route=Route.RATIONALIZED, decision="dropped"),
    RationaleFilter(verdict="correct", route=Route.GENERATED),
]


@pytest.fixture
def job_id(world: World) -> str:
    """A job with 3 iterations of 16 examples, 40 tries each."""
    job_id = world.submit()
    with transaction(world.engine) as session:
        examples = list(
            session.scalars(select(Example.id).where(Example.split == "train").order_by(Example.id))
        )
        for number in (1, 2, 3):
            iteration = Iteration(job_id=job_id, number=number, phases_done=[], metrics={})
            session.add(iteration)
            session.flush()
            session.execute(insert(Rationale), _tries(job_id, iteration, examples))
        if session.get_bind().dialect.name == "postgresql":
            session.execute(text("ANALYZE rationales"))
    return job_id


def _tries(
    job_id: str, iteration: Iteration, examples: list[int], count: int = 16 * 40
) -> list[dict[str, Any]]:
    rows = []
    for place in range(count):
        reason = REASONS[place % 3]
        rows.append(
            {
                "job_id": job_id,
                "iteration_id": iteration.id,
                "iteration_number": iteration.number,
                "example_id": examples[place % 16],
                "route": "rationalized" if place % 5 == 0 else "generated",
                "sample": place,
                "text": f"Try {place} of 100% of {iteration.number}",
                "verdict": "correct" if reason == "kept" else reason,
                "rule": "test",
                "decision": "kept" if reason == "kept" else "dropped",
                "reason": reason,
                "prompt_tokens": 1,
                "tokens": 1,
                "finish_reason": "stop",
            }
        )
    return rows


def pages(world: World, job_id: str, wanted: RationaleFilter, limit: int = 100) -> list[Rationale]:
    found: list[Rationale] = []
    after = 0
    while True:
        with reading(world.engine) as session:
            page = rationale_page(session, job_id, wanted, after=after, limit=limit)
        found += [rationale for rationale, _ in page.rows]
        if not page.has_more:
            return found
        assert page.last is not None
        assert page.last > after
        after = page.last


def everything(world: World) -> list[Rationale]:
    with reading(world.engine) as session:
        return list(session.scalars(select(Rationale).order_by(Rationale.id)))


@pytest.mark.parametrize("iteration", [None, 2])
@pytest.mark.parametrize("wanted", FILTERS, ids=str)
def test_pages_hold_exactly_what_passes_the_filters(
    world: World, job_id: str, wanted: RationaleFilter, iteration: int | None
) -> None:
    rows = everything(world)
    example = rows[0].example_id if wanted.example else None
    wanted = RationaleFilter(iteration, wanted.route, wanted.verdict, wanted.decision, wanted.reason, example)
    checks = {
        "iteration_number": wanted.iteration,
        "route": wanted.route,
        "verdict": wanted.verdict,
        "decision": wanted.decision,
        "reason": wanted.reason,
        "example_id": wanted.example,
    }
    expected = [
        row.id
        for row in rows
        if all(value is None or getattr(row, name) == value for name, value in checks.items())
    ]
    assert expected
    assert [row.id for row in pages(world, job_id, wanted)] == expected


def test_iteration_without_rationales_is_an_empty_page(world: World, job_id: str) -> None:
    assert pages(world, job_id, RationaleFilter(iteration=9)) == []


def test_text_is_found_as_it_is_written_and_nothing_stands_for_something_else(
    world: World, job_id: str
) -> None:
    assert [row.text for row in pages(world, job_id, RationaleFilter(text="Try 63 "), limit=2)] == [
        f"Try 63 of 100% of {number}" for number in (1, 2, 3)
    ]
    assert len(pages(world, job_id, RationaleFilter(text="0% of 2"))) == 640
    for nothing in ("try 63 ", "Try 6_ ", "Try%of", "\\"):
        assert pages(world, job_id, RationaleFilter(text=nothing)) == []


def test_page_looks_for_a_text_no_further_than_it_says(
    world: World, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rationale_pages, "SCANNED", 100)
    wanted = RationaleFilter(text="Try 639 ", iteration=2)
    with reading(world.engine) as session:
        first = rationale_page(session, job_id, wanted, after=0, limit=20)
    assert (first.rows, first.has_more) == ([], True)
    assert [row.text for row in pages(world, job_id, wanted)] == ["Try 639 of 100% of 2"]


def plan(session: Session, query: Any) -> str:
    dialect = session.get_bind().dialect
    postgresql = dialect.name == "postgresql"
    statement = query.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    rows = session.execute(text(f"EXPLAIN {'' if postgresql else 'QUERY PLAN '}{statement}")).all()
    return "\n".join(str(row[0] if postgresql else row[3]) for row in rows)


@pytest.mark.parametrize("wanted", FILTERS, ids=str)
def test_every_page_walks_an_index_without_a_sort(world: World, job_id: str, wanted: RationaleFilter) -> None:
    """`enable_seqscan` is off: on a table this small PostgreSQL would rather read it whole."""
    with reading(world.engine) as session:
        if session.get_bind().dialect.name == "postgresql":
            session.execute(text("SET LOCAL enable_seqscan = off"))
            session.execute(text("SET LOCAL enable_bitmapscan = off"))
        walks = [walk.limit(20) for walk in walks_of(session, job_id, wanted)(100)]
        found = [plan(session, query) for query in (*walks, *bounds_of(session, job_id, 2))]
        postgresql = session.get_bind().dialect.name == "postgresql"
    for steps in found[: len(walks)]:
        assert postgresql or "id>?" in steps, (
            f"it begins at the first page, however deep this one lies: {steps}"
        )
    for steps in found:
        assert "ix_rationales_" in steps, steps
        for slow in ("Seq Scan", "Sort", "SCAN", "TEMP B-TREE"):
            assert slow not in steps, steps


@pytest.mark.parametrize(
    "wanted",
    [RationaleFilter(reason="kept"), RationaleFilter(verdict="correct", decision="kept")],
    ids=["one filter", "several"],
)
def test_page_behind_the_last_match_reads_no_further(
    postgresql_database_url: str, tmp_path: Path, wanted: RationaleFilter
) -> None:
    """Of hundreds of the index's blocks that other rows fill."""
    world = make_world(postgresql_database_url, tmp_path / "home")
    job_id = world.submit()
    with transaction(world.engine) as session:
        examples = [session.scalars(select(Example.id).limit(1)).one()] * 16
        iteration = Iteration(job_id=job_id, number=1, phases_done=[], metrics={})
        session.add(iteration)
        session.flush()
        session.execute(insert(Rationale), _tries(job_id, iteration, examples, 30_000))
    with world.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE rationales"))
    with reading(world.engine) as session:
        last = select(func.max(Rationale.id)).where(Rationale.reason == "kept")
        near_the_end = (session.scalar(last) or 0) - 10
        for walk in walks_of(session, job_id, wanted)(near_the_end):
            assert blocks_read(session, walk.limit(100)) < 20


def blocks_read(session: Session, query: Any) -> int:
    statement = query.compile(dialect=session.get_bind().dialect, compile_kwargs={"literal_binds": True})
    [found] = session.scalars(text(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}")).one()
    return int(found["Plan"]["Shared Hit Blocks"] + found["Plan"]["Shared Read Blocks"])


def test_outcomes_are_found_by_jumping_through_the_index(world: World, job_id: str) -> None:
    """Whatever a million rows hold, each of their few outcomes costs one look into the index."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(world.engine, "before_cursor_execute", note)
    with reading(world.engine) as session:
        assert outcomes_of(session, job_id, decision="dropped", reason=None) == [
            "generated/unparsed/dropped/unparsed",
            "generated/wrong/dropped/wrong",
            "rationalized/unparsed/dropped/unparsed",
            "rationalized/wrong/dropped/wrong",
        ]
        assert len([one for one in statements if "rationales" in one]) == 1


def test_undecided_rationales_are_found_by_several_filters(world: World, job_id: str) -> None:
    """While an iteration is sampled nothing is decided: neither decision nor reason."""
    with transaction(world.engine) as session:
        session.execute(
            update(Rationale).where(Rationale.iteration_number == 3).values(decision=None, reason=None)
        )
    wanted = RationaleFilter(route=Route.GENERATED, verdict="wrong", iteration=3)
    rows = everything(world)
    expected = [
        row.id for row in rows if (row.route, row.verdict, row.iteration_number) == ("generated", "wrong", 3)
    ]
    assert expected
    assert [row.id for row in pages(world, job_id, wanted)] == expected


def test_text_and_several_filters_find_every_row_once(
    world: World, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rationale_pages, "SCANNED", 100)
    wanted = RationaleFilter(route=Route.RATIONALIZED, decision="dropped", text="0 of 100% of ")
    expected = [
        row.id
        for row in everything(world)
        if row.route == "rationalized" and row.decision == "dropped" and "0 of 100% of " in row.text
    ]
    assert expected
    assert [row.id for row in pages(world, job_id, wanted, limit=7)] == expected
