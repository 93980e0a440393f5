from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from app.database import clock, make_engine, new_id, reading


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
