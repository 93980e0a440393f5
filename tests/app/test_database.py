from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from importlib import import_module
from pkgutil import iter_modules

import pytest
from sqlalchemy import UniqueConstraint, select

import app.tables
from app.database import clock, make_engine, new_id, reading
from app.tables.base import Base


@pytest.fixture
def switch_often() -> Iterator[None]:
    """Threads take turns between nearly any two steps."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def test_a_statement_with_the_clock_is_compiled_once_and_keeps_its_own_seconds(database_url: str) -> None:
    engine = make_engine(database_url)
    with reading(engine) as session:
        for seconds in (-90.0, 60.0, 3600.0):
            shifted, now = session.execute(select(clock(seconds), clock())).one()
            assert abs(shifted - now - timedelta(seconds=seconds)) < timedelta(seconds=10)
    engine.dispose()
    assert select(clock(1))._generate_cache_key() is not None


def test_ids_sort_in_the_order_in_which_they_were_made_within_a_millisecond_too() -> None:
    made = [new_id("job") for _ in range(1000)]
    assert made == sorted(made)
    assert len(set(made)) == 1000
    assert len(set(map(len, made))) == 1


def test_each_of_several_threads_makes_ids_in_order(switch_often: None) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: [new_id("job") for _ in range(500)], range(8)))
    assert made == [sorted(of_one) for of_one in made]
    assert len({one for of_one in made for one in of_one}) == 8 * 500


def test_every_reference_to_another_table_has_an_index() -> None:
    """Whoever deletes a row looks for it in each table that refers to its own, and waits for a whole scan."""
    for module in iter_modules(app.tables.__path__):
        import_module(f"app.tables.{module.name}")
    unindexed = set()
    for table in Base.metadata.sorted_tables:
        found = [index.columns for index in table.indexes]
        found += [one.columns for one in table.constraints if isinstance(one, UniqueConstraint)]
        begun = {next(iter(columns)).name for columns in (*found, table.primary_key.columns)}
        unindexed |= {(table.name, key.parent.name) for key in table.foreign_keys} - {
            (table.name, column) for column in begun
        }
    assert unindexed == {("jobs", "model_id")}, "base models are never deleted; everything else is"
